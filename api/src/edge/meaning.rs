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

#[cfg(test)]
mod tests {
    use poem::http::{HeaderName, HeaderValue};

    use super::*;

    fn is_taken(method: &Method, name: &'static str, value: &'static str, known: &[String]) -> bool {
        let header = (HeaderName::from_static(name), HeaderValue::from_static(value));
        check_headers(method, &[header].into_iter().collect(), known).is_ok()
    }

    #[test]
    fn a_header_that_changes_what_a_request_means_is_refused_unless_it_is_known() {
        for (name, value) in [
            ("if-match", "*"),
            ("if-match", ""),
            ("if-unmodified-since", "Mon, 23 Nov 2026 14:01:04 GMT"),
            ("content-range", "bytes 0-9/20"),
            ("expect", "payment"),
            ("idempotency-key", "8e03978e-40d5"),
        ] {
            for method in [Method::GET, Method::POST] {
                assert!(!is_taken(&method, name, value, &[]), "{method} {name}: {value}");
                assert!(!is_taken(&method, name, value, &["X-Other".to_owned()]), "{method} {name}: {value}");
                assert!(is_taken(&method, name, value, &[name.to_uppercase()]), "{method} {name}: {value}");
            }
        }
    }

    #[test]
    fn a_header_that_clients_send_by_themselves_is_ignored() {
        for (name, value) in [
            ("accept-language", "de"),
            ("authorization", "Bearer 17"),
            ("cache-control", "no-cache"),
            ("content-type", "application/json"),
            ("cookie", "a=b"),
            ("expect", "100-Continue"),
            ("if-modified-since", "Mon, 23 Nov 2026 14:01:04 GMT"),
            ("if-range", "\"a\""),
            ("prefer", "return=minimal"),
            ("range", "bytes=0-9"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("x-idempotency-key", "a"),
        ] {
            for method in [Method::GET, Method::POST] {
                assert!(is_taken(&method, name, value, &[]), "{method} {name}: {value}");
            }
        }
    }

    #[test]
    fn if_none_match_may_spare_an_answer_and_guards_no_change() {
        assert!(is_taken(&Method::GET, "if-none-match", "\"a\"", &[]));
        assert!(is_taken(&Method::HEAD, "if-none-match", "\"a\"", &[]));
        assert!(!is_taken(&Method::POST, "if-none-match", "*", &[]));
    }
}
