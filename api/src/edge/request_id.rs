use std::fmt;

use poem::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header with the id of a request, which its answer and all its log lines have.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum characters of a client's id: room for two UUIDs and a path, but too few to fill a log.
const LENGTH_MAX: usize = 128;

/// The id of a request: valid as a header and safe to log, as it may come from the client.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The client's id, if it sent exactly one and that is sane; otherwise a new UUID.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(X_REQUEST_ID).iter();
        match (given.next(), given.next()) {
            (Some(id), None) if is_sane(id.as_bytes()) => Self(id.clone()),
            _ => Self(HeaderValue::try_from(Uuid::now_v7().to_string()).unwrap_or(HeaderValue::from_static("none"))),
        }
    }

    /// The id as the value of a header.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// The id as text.
    pub(crate) fn text(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Whether an id has only letters, digits and a few signs: nothing that a log, a shell or a page could misread.
fn is_sane(id: &[u8]) -> bool {
    let is_sane = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte);
    (1..=LENGTH_MAX).contains(&id.len()) && id.iter().all(is_sane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced_by_a_uuid() {
        let (long, too_long) = ("x".repeat(LENGTH_MAX), "x".repeat(LENGTH_MAX + 1));
        for (given, is_kept) in [
            (&["7"][..], true),
            (&["Root=1-67891233-abcdef"], true),
            (&[&long], true),
            (&[&too_long], false),
            (&[], false),
            (&[""], false),
            (&["a b"], false),
            (&["a\"b"], false),
            (&["a", "b"], false),
        ] {
            let headers = given.iter().map(|value| (X_REQUEST_ID, HeaderValue::from_str(value).unwrap()));

            let id = RequestId::of(&headers.collect()).to_string();

            assert!(if is_kept { id == given[0] } else { id.parse::<Uuid>().is_ok() }, "{given:?}: {id}");
        }
    }
}
