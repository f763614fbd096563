use poem::http::{HeaderMap, header};

/// Whether the `Accept` headers of a request (RFC 9110, section 12.5.1) leave one of these media types.
///
/// Without the header everything is acceptable, and so it is with one that names nothing.
pub(crate) fn accepts(headers: &HeaderMap, produces: &[&str]) -> bool {
    let ranges: Vec<Range<'_>> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Range::parse)
        .collect();
    let is_accepted = |media_type: &str| {
        let fitting = ranges.iter().filter(|range| range.fits(media_type));
        // The most specific range decides; of two alike, the kinder one.
        let best = fitting.max_by(|a, b| {
            (a.specificity(), a.weight).partial_cmp(&(b.specificity(), b.weight)).unwrap_or(std::cmp::Ordering::Equal)
        });
        best.is_some_and(|range| range.weight > 0.0)
    };
    ranges.is_empty() || produces.is_empty() || produces.iter().any(|media_type| is_accepted(media_type))
}

/// One media range, such as `text/*;q=0.5`. Parameters other than its weight make no difference here.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    weight: f32,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some(Self { kind, subtype, weight: weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)) })
    }

    fn fits(&self, media_type: &str) -> bool {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let (kind, subtype) = essence.split_once('/').unwrap_or((essence, ""));
        (self.kind == "*" && self.subtype == "*")
            || (self.kind.eq_ignore_ascii_case(kind)
                && (self.subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype)))
    }

    fn specificity(&self) -> u8 {
        u8::from(self.kind != "*") + u8::from(self.subtype != "*")
    }
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    const JSON: &[&str] = &["application/json"];

    fn accepting(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (header::ACCEPT, HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn what_is_not_excluded_is_accepted() {
        for accept in [
            "",
            "*/*",
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/*",
            "text/html, application/json;q=0.1",
            "text/html,*/*;q=0.8",
            "*/*;q=0, application/json",
            "nonsense",
        ] {
            assert!(accepts(&accepting(&[accept]), JSON), "{accept}");
        }
        assert!(accepts(&HeaderMap::new(), JSON));
        assert!(accepts(&accepting(&["text/html", "application/json"]), JSON), "in two headers");
        assert!(accepts(&accepting(&["text/plain"]), &["application/json", "text/plain; version=0.0.4"]));
    }

    #[test]
    fn what_is_excluded_is_not() {
        for accept in [
            "text/html",
            "application/json;q=0",
            "application/json;q=0, */*",
            "*/*;q=0",
            "application/*;q=0.0, text/html",
            "application/xml, text/*",
            "application/problem+json",
        ] {
            assert!(!accepts(&accepting(&[accept]), JSON), "{accept}");
        }
    }
}
