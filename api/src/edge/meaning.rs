use poem::http::{HeaderMap, Method, header};

use crate::problems::{Kind, Problem};

/// Rejects headers that change what a request means, unless its operation knows them: a client that sends one relies on
/// it. All other headers may be ignored, since they only say who asks, or how to answer.
pub(super) fn check_headers(
    method: &Method,
    headers: &HeaderMap,
    is_known: impl Fn(&str) -> bool,
) -> Result<(), Problem> {
    // RFC 9110, section 10.1.1, defines only one expectation.
    let expects_more = headers
        .get_all(header::EXPECT)
        .iter()
        .any(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    for (name, changes_meaning) in [
        ("If-Match", true),
        ("If-Unmodified-Since", true),
        // On a request that only reads, it merely saves the answer (RFC 9110, section 13.1.2), so it may be ignored.
        ("If-None-Match", !method.is_safe()),
        ("Content-Range", true),
        ("Expect", expects_more),
        ("Idempotency-Key", true),
    ] {
        if changes_meaning && headers.contains_key(name) && !is_known(name) {
            let detail = format!("This operation does not support the header `{name}`. Nothing was changed.");
            return Err(Problem::new(Kind::UnsupportedHeader, detail));
        }
    }
    Ok(())
}
