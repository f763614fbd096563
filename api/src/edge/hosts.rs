//! Protection from other sites' pages: through the browser of a visitor such a page can reach this port.

use std::net::IpAddr;

use orders_shared::config::InvalidSetting;
use poem::http::uri::Authority;
use poem::http::{HeaderMap, Method, header};

use crate::problems::{Kind, Problem};
use crate::wire::fields::echo;

/// The header (Fetch Metadata) by which a browser says whose page sends the request. Browsers from before 2023 do not
/// send it.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Rejects a change that a page of another origin requests. Other clients than browsers name no origin, and may request
/// any change.
pub(super) fn check_origin(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let changes = !method.is_safe();
    let is_ours = match (headers.get(SEC_FETCH_SITE), headers.get(header::ORIGIN)) {
        // "none" means the user, who typed the address.
        (Some(site), _) => site == "same-origin" || site == "none",
        (None, Some(origin)) => origin.to_str().is_ok_and(|origin| is_host_of(headers, origin)),
        (None, None) => true,
    };
    if changes && !is_ours {
        return Err(Problem::plain(Kind::CrossOrigin));
    }
    Ok(())
}

/// Whether an origin (RFC 6454) has the host and port that the request was sent to. The scheme is not known here: a
/// proxy in front may speak TLS.
fn is_host_of(headers: &HeaderMap, origin: &str) -> bool {
    let Some((scheme, origin)) = origin.split_once("://") else { return false };
    // A browser omits the scheme's default port, but a proxy in front may write it.
    let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| host.strip_suffix(port).unwrap_or(host).eq_ignore_ascii_case(origin))
}

/// The names under which this API may be asked.
#[derive(Clone, Debug)]
pub struct Hosts(Names);

#[derive(Clone, Debug)]
enum Names {
    /// Any name: others reach the API under names that it cannot know.
    Any,
    /// The names of loopback, and these.
    LoopbackAnd(Vec<String>),
}

impl Hosts {
    /// The names of an API that is reached at `address`. If that is a loopback address, only the names of loopback and
    /// `allowed` count: otherwise a page could make its own name lead to this machine (DNS rebinding), and would be of
    /// the same origin.
    ///
    /// # Errors
    ///
    /// If one of `allowed` is not a host's name or address.
    pub fn reached_at(address: IpAddr, allowed: &[String]) -> Result<Self, InvalidSetting> {
        let names = allowed.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        let names = names.map(host_alone).collect::<Result<_, _>>()?;
        Ok(Self(if address.to_canonical().is_loopback() { Names::LoopbackAnd(names) } else { Names::Any }))
    }

    /// Rejects a request to a name that this API does not have. A request without a name (HTTP/1.0) comes from no
    /// browser.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let named = headers.get(header::HOST).filter(|host| !host.is_empty());
        let (Names::LoopbackAnd(known), Some(host)) = (&self.0, named) else { return Ok(()) };
        let name = Authority::try_from(host.as_bytes()).ok().map(|authority| normal(authority.host()));
        if name.is_some_and(|name| is_loopback(&name) || known.contains(&name)) {
            return Ok(());
        }
        let detail = format!(
            "This server does not have the name `{}`. It serves only its own machine; API_ALLOWED_HOSTS can list other \
             names.",
            echo(&String::from_utf8_lossy(host.as_bytes()))
        );
        Err(Problem::new(Kind::UnknownHost, detail))
    }
}

fn host_alone(name: &str) -> Result<String, InvalidSetting> {
    match Authority::try_from(name) {
        Ok(authority) if authority.as_str() == authority.host() => Ok(normal(name)),
        _ => Err(InvalidSetting::new(
            "API_ALLOWED_HOSTS",
            format!("must be host names separated by commas, without scheme and port: not `{name}`"),
        )),
    }
}

/// A name in lower case and without the final dot, which make no difference.
fn normal(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether a host is this machine by definition (RFC 6761, section 6.3) or by its address.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    #[test]
    fn a_change_is_for_pages_of_the_same_origin_with_or_without_the_default_port() {
        for (site, origin, host, is_let_in) in [
            // The newer header takes precedence.
            ("same-origin", "https://orders.example", "localhost:8000", true),
            ("cross-site", "http://localhost:8000", "localhost:8000", false),
            ("", "http://localhost:8000", "localhost:8000", false),
            ("none yet", "https://LOCALHOST:8000", "localhost:8000", true),
            ("none yet", "http://localhost", "localhost:8000", false),
            ("none yet", "", "localhost:8000", false),
            ("none yet", "https://orders.example", "orders.example:443", true),
            ("none yet", "http://orders.example", "orders.example:80", true),
            ("none yet", "http://orders.example", "orders.example:443", false),
            ("none yet", "https://orders.example:8443", "orders.example", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if site != "none yet" {
                headers.insert(SEC_FETCH_SITE, HeaderValue::from_static(site));
            }

            assert_eq!(check_origin(&Method::POST, &headers).is_ok(), is_let_in, "{headers:?}");
        }
    }

    #[test]
    fn an_api_for_this_machine_alone_has_the_names_of_loopback_and_those_that_are_allowed() {
        let allowed = ["api".to_owned(), String::new(), " Orders.Example ".to_owned()];
        let hosts = Hosts::reached_at([127, 0, 0, 1].into(), &allowed).unwrap();
        for (host, is_known) in [
            ("LocalHost:8000", true),
            ("localhost.", true),
            ("app.localhost:8000", true),
            ("127.1.2.3", true),
            ("[::ffff:127.0.0.1]", true),
            ("orders.example", true),
            ("", true),
            ("127.0.0.1.evil.example", false),
            ("0.0.0.0:8000", false),
            ("[::]", false),
            ("a b", false),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);

            assert_eq!(hosts.check(&headers).is_ok(), is_known, "{host}");
        }
    }

    #[test]
    fn an_api_that_others_reach_has_any_name() {
        for address in ["0.0.0.0", "::", "192.168.1.7"] {
            let hosts = Hosts::reached_at(address.parse().unwrap(), &[]).unwrap();
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("orders.example"))]);

            assert!(hosts.check(&headers).is_ok(), "{address}");
        }
    }

    #[test]
    fn an_allowed_host_is_a_name_and_nothing_more() {
        for name in ["http://api", "api:8000", "api/x", "a b", "user@api"] {
            let error = Hosts::reached_at([127, 0, 0, 1].into(), &[name.to_owned()]).unwrap_err().to_string();

            assert!(error.contains("API_ALLOWED_HOSTS") && error.contains(name), "{error}");
        }
    }
}
