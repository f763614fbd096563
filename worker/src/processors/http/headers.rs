//! Headers that the operator adds to every request, such as a token.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers that this worker or HTTP itself sets. To override one would break signatures, or the framing of requests.
const RESERVED: [HeaderName; 11] = [
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::USER_AGENT,
];

/// The prefixes of the others.
const RESERVED_PREFIXES: [&str; 3] = ["webhook-", "orders-", "idempotency-key"];

/// Reads lines of `Name: value`. Empty lines and those that begin with `#` say nothing. Errors never show a value.
pub(crate) fn extra_headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = extra_header(line).map_err(|why| format!("line {} {why}", index + 1))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn extra_header(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = line.split_once(':').ok_or("is not `Name: value`")?;
    let name: HeaderName = name.trim_end().parse().map_err(|_| "has no valid name of a header")?;
    if RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix)) {
        return Err(format!("sets the header `{name}`, which the worker sets itself"));
    }
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| "has no valid value of a header")?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_documented() {
        let headers = extra_headers("# a token\nAuthorization: Bearer a:b \r\n\nX-Tenant:7\nx-tenant: 8\n").unwrap();

        let pairs: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(pairs, [("authorization", "Bearer a:b"), ("x-tenant", "7"), ("x-tenant", "8")]);
        assert!(headers.values().all(HeaderValue::is_sensitive));
    }

    #[test]
    fn a_wrong_line_is_named_without_its_value() {
        for (text, problem) in [
            ("\nsecret", "line 2 is not `Name: value`"),
            ("a b: secret", "line 1 has no valid name of a header"),
            ("a: secret\u{1}", "line 1 has no valid value of a header"),
            ("Host: secret", "line 1 sets the header `host`, which the worker sets itself"),
            ("Webhook-Id: secret", "line 1 sets the header `webhook-id`, which the worker sets itself"),
            ("Idempotency-Key: secret", "line 1 sets the header `idempotency-key`, which the worker sets itself"),
            ("orders-attempt: secret", "line 1 sets the header `orders-attempt`, which the worker sets itself"),
        ] {
            assert_eq!(extra_headers(text).map(|_| ()), Err(problem.to_owned()));
        }
    }
}
