use poem::http::{HeaderMap, Version, header};

use crate::problems::{Kind, Problem};

/// The only transfer coding that this server reads.
const CHUNKED: &str = "chunked";

/// Rejects a request whose head HTTP/1.1 forbids although hyper accepts it. It is not certain where such a request
/// ends, so its connection must be closed.
pub(super) fn check_head(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    if !is_host_sound(version, headers) {
        return Err(Problem::plain(Kind::MalformedRequest));
    }
    if is_coding_unknown(headers) {
        return Err(Problem::plain(Kind::UnsupportedTransferCoding));
    }
    Ok(())
}

/// RFC 9112, section 3.2: an HTTP/1.1 request has exactly one `Host`, older versions have at most one, and its value
/// has only characters that a URI's host may have.
fn is_host_sound(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => host.as_bytes().iter().copied().all(is_of_host),
        (Some(_), Some(_)) => false,
    }
}

/// Whether a host, with its port, may have this byte (RFC 3986, section 3.2.2).
fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

/// RFC 9112, section 6.1. hyper accepts any body whose last coding is `chunked`, and would pass on a body with further
/// codings as if it had none.
fn is_coding_unknown(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(only), None) => !only.as_bytes().trim_ascii().eq_ignore_ascii_case(CHUNKED.as_bytes()),
        (Some(_), Some(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use poem::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_head_has_one_host_and_no_coding_but_chunked() {
        for (name, value, is_sound) in [
            ("host", "orders_api.internal:8000", true),
            ("host", "[::1]:8000", true),
            ("host", "", true),
            ("host", "a/b", false),
            ("host", "user@host", false),
            ("host", "a?b", false),
            ("host", "ä", false),
            ("host", "a,b c", false),
            ("transfer-encoding", " Chunked\t", true),
            ("transfer-encoding", ", chunked", false),
            ("transfer-encoding", "identity", false),
            ("transfer-encoding", "", false),
        ] {
            let name = HeaderName::from_static(name);
            let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("a"))]);
            headers.insert(name, HeaderValue::from_str(value).unwrap());

            assert_eq!(check_head(Version::HTTP_11, &headers).is_ok(), is_sound, "{headers:?}");
        }
    }
}
