use poem::http::{HeaderMap, Version, header};

use crate::problems::{Kind, Problem};

/// The one transfer coding that is understood.
const CHUNKED: &str = "chunked";

/// Refuses a request whose head HTTP/1.1 forbids although hyper reads it. Where such a request ends is not certain, so that its
/// connection must be closed.
pub(super) fn check_head(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    if !is_host_sound(version, headers) {
        return Err(Problem::plain(Kind::MalformedRequest));
    }
    if is_coding_unknown(headers) {
        return Err(Problem::plain(Kind::UnsupportedTransferCoding));
    }
    Ok(())
}

/// RFC 9112, section 3.2: HTTP/1.1 has exactly one `Host`, other versions at most one, and its value is one of a URI.
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

/// RFC 9112, section 6.1. hyper takes a body whose last coding is `chunked`, and refuses (400) every other; it would hand on
/// what is coded otherwise below that.
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
    use poem::error::ResponseError;
    use poem::http::{HeaderName, HeaderValue};

    use super::*;

    fn fault_of(version: Version, lines: &[(&str, &str)]) -> Option<u16> {
        let header = |(name, value): &(&str, &str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(header) {
            headers.append(name, value);
        }
        check_head(version, &headers).err().map(|problem| problem.status().as_u16())
    }

    #[test]
    fn a_request_has_one_host_and_it_is_one() {
        for host in ["localhost", "localhost:8000", "[::1]:8000", "orders_api.internal", "", "127.0.0.1"] {
            assert_eq!(fault_of(Version::HTTP_11, &[("host", host)]), None, "{host}");
        }
        for host in ["a b", "a/b", "user@host", "a?b", "a#b", "ä", "a\tb", "a,b c"] {
            assert_eq!(fault_of(Version::HTTP_11, &[("host", host)]), Some(400), "{host}");
        }
        assert_eq!(fault_of(Version::HTTP_11, &[]), Some(400));
        assert_eq!(fault_of(Version::HTTP_11, &[("host", "a"), ("host", "a")]), Some(400));
        assert_eq!(fault_of(Version::HTTP_10, &[]), None);
        assert_eq!(fault_of(Version::HTTP_10, &[("host", "a"), ("host", "b")]), Some(400));
    }

    #[test]
    fn a_body_is_chunked_and_coded_in_no_other_way() {
        let fault_of = |codings: &[&str]| {
            let codings = codings.iter().map(|coding| ("transfer-encoding", *coding));
            fault_of(Version::HTTP_11, &[("host", "a")].into_iter().chain(codings).collect::<Vec<_>>())
        };

        for sound in [&[] as &[&str], &["chunked"], &["Chunked"], &[" chunked\t"]] {
            assert_eq!(fault_of(sound), None, "{sound:?}");
        }
        for unknown in [
            &["gzip, chunked"] as &[&str],
            &["gzip", "chunked"],
            &["identity, chunked"],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &[", chunked"],
            &["gzip"],
            &[""],
        ] {
            assert_eq!(fault_of(unknown), Some(501), "{unknown:?}");
        }
    }
}
