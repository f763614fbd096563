//! How figures are calculated and shown.

/// Counts are far below the 2^53 up to which this is exact.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn quotient(count: u64, by: f64) -> f64 {
    count as f64 / by
}

/// Three significant digits.
pub(crate) fn digits(value: f64) -> String {
    let decimals = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else if value.abs() >= 0.1 {
        2
    } else {
        4
    };
    format!("{value:.decimals$}")
}
