//! The figures that are ratios to R0, as bars, with their targets.

use std::fmt::Write;

use crate::figures::digits;
use crate::report::Report;

/// Pixels.
const ROW: f64 = 26.0;
const LABELS: f64 = 380.0;
const BARS: f64 = 420.0;

/// An SVG picture.
pub(crate) fn svg(report: &Report) -> String {
    let longest = report.rates().map(|(_, ratio, least)| ratio.max(least.unwrap_or(1.0))).fold(1.0, f64::max);
    let (mut body, mut y) = (String::new(), ROW);
    for (figure, ratio, least) in report.rates() {
        let (width, middle) = (ratio / longest * BARS, y + ROW * 0.6);
        let (end, fill) = (LABELS - 8.0, if figure.name.starts_with("naive") { "#999" } else { "#2a6f97" });
        let _ = write!(
            body,
            r#"<text x="{end}" y="{middle}" text-anchor="end">{name}</text>
<rect x="{LABELS}" y="{y}" width="{width:.1}" height="{height}" fill="{fill}"/>
<text x="{after:.1}" y="{middle}">{ratio} x R0 ({value}/s)</text>
"#,
            name = figure.name.replace('&', "&amp;").replace('<', "&lt;"),
            height = ROW * 0.8,
            after = LABELS + width + 6.0,
            ratio = digits(ratio),
            value = digits(figure.value),
        );
        if let Some(least) = least {
            let (x, until) = (LABELS + least / longest * BARS, y + ROW * 0.8);
            let _ = writeln!(
                body,
                r##"<line x1="{x:.1}" x2="{x:.1}" y1="{y}" y2="{until}" stroke="#c00" stroke-width="2"/>"##
            );
        }
        y += ROW;
    }
    let (width, height) = (LABELS + BARS + 160.0, y + ROW);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#fff"/>
<text x="8" y="16">Orders a second, as ratios to R0, the transactions a second of the database server itself; red: the target</text>
{body}</svg>
"##
    )
}
