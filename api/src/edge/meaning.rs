use poem::http::{HeaderMap, Method, header};

use crate::problems::{Kind, Problem};

/// Refuses headers that change what a request means, unless they are `known` to its operation: a client that sends one relies
/// on it. All other headers may be ignored, since they only say who asks, or how to answer.
pub(super) fn check_headers(method: &Method, headers: &HeaderMap, known: &[String]) -> Result<(), Problem> {
    let changes_meaning = [
        ("If-Match", true),
        ("If-Unmodified-Since", true),
        // On a request that only reads, it can spare no more than the answer (RFC 9110, section 13.1.2).
        ("If-None-Match", !method.is_safe()),
        ("Content-Range", true),
        ("Expect", expects_more(headers)),
        ("Idempotency-Key", true),
    ];
    let is_known = |name: &str| known.iter().any(|known| known.eq_ignore_ascii_case(name));
    let found = changes_meaning.into_iter().filter(|(_, changes)| *changes).map(|(name, _)| name);
    match found.into_iter().find(|name| headers.contains_key(*name) && !is_known(name)) {
        Some(name) => {
            let detail = format!("This operation does not take the header `{name}`. Nothing was changed.");
            Err(Problem::new(Kind::UnsupportedHeader, detail))
        }
        None => Ok(()),
    }
}

/// Whether something is expected beyond the one thing that HTTP/1.1 knows (RFC 9110, section 10.1.1).
fn expects_more(headers: &HeaderMap) -> bool {
    headers.get_all(header::EXPECT).iter().any(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
