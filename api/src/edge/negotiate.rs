//! Reads what clients prefer: the lists of weighted names in `Accept` and `Accept-Encoding`.

use poem::http::{HeaderMap, HeaderName, header};

/// The members of a list such as `text/html, */*;q=0.1`, with their weights (RFC 9110, section 12.4.2). Other
/// parameters are ignored.
pub(crate) struct Preferences<'a>(Vec<(&'a str, f32)>);

impl<'a> Preferences<'a> {
    fn of(headers: &'a HeaderMap, name: HeaderName) -> Self {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        Self(values.flat_map(|value| value.split(',')).map(weighted).collect())
    }

    /// The media ranges of `Accept` (section 12.5.1).
    pub(crate) fn of_media_types(headers: &'a HeaderMap) -> Self {
        let mut accepted = Self::of(headers, header::ACCEPT);
        accepted.0.retain(|(range, _)| range.contains('/'));
        accepted
    }

    /// The codings of `Accept-Encoding` (section 12.5.3).
    pub(crate) fn of_codings(headers: &'a HeaderMap) -> Self {
        Self::of(headers, header::ACCEPT_ENCODING)
    }

    /// Whether one of these media types is acceptable. Without preferences everything is.
    pub(crate) fn accept(&self, media_types: &[&str]) -> bool {
        self.0.is_empty() || media_types.is_empty() || media_types.iter().any(|it| self.media_type(it) > 0.0)
    }

    /// The weight of a media type: that of the most specific range that includes it.
    pub(crate) fn media_type(&self, media_type: &str) -> f32 {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let (kind, _) = essence.split_once('/').unwrap_or((essence, ""));
        self.first(&[essence, &format!("{kind}/*"), "*/*"])
    }

    /// The weight of the first of these names that is in the list. If it is listed twice, the greater weight counts.
    pub(crate) fn first(&self, names: &[&str]) -> f32 {
        let weight_of = |name: &&str| {
            let found = self.0.iter().filter(|(member, _)| member.eq_ignore_ascii_case(name));
            found.map(|(_, weight)| *weight).reduce(f32::max)
        };
        names.iter().find_map(weight_of).unwrap_or(0.0)
    }
}

/// A member and its weight: 1 if it has none, 0 if the weight is not a number.
fn weighted(member: &str) -> (&str, f32) {
    let mut parts = member.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    (name, weight.map_or(1.0, |(_, weight)| weight.trim().parse().unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn accepting(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (header::ACCEPT, HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn the_most_specific_range_says_whether_a_media_type_is_acceptable() {
        for (accept, is_acceptable) in [
            (&[][..], true),
            (&[""], true),
            (&["application/json"], true),
            (&["Application/JSON; charset=utf-8"], true),
            (&["application/*"], true),
            (&["text/html,*/*;q=0.8"], true),
            (&["*/*;q=0, application/json"], true),
            (&["text/html", "application/json"], true),
            (&["application/json;q=0"], false),
            (&["application/json; Q = 0, */*"], false),
            (&["application/json;q=x"], false),
            (&["*/*;q=0"], false),
            (&["application/*;q=0.0, text/html"], false),
            (&["application/xml, text/*"], false),
            (&["application/problem+json"], false),
        ] {
            let headers = accepting(accept);

            let preferences = Preferences::of_media_types(&headers);

            assert_eq!(preferences.accept(&["application/json"]), is_acceptable, "{accept:?}");
        }
        let text = accepting(&["text/plain"]);
        assert!(Preferences::of_media_types(&text).accept(&["application/json", "text/plain; version=0.0.4"]));
    }
}
