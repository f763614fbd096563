//! How the service is called, and how often.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::{StatusCode, Uri};
use orders_shared::domain::RetryPolicy;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use super::request::Requests;
use crate::gate::GateSettings;

/// How orders are pushed to a service.
pub struct FulfilmentSettings {
    /// Where they are sent.
    pub(crate) uri: Uri,
    /// What is sent.
    pub(crate) requests: Requests,
    /// Whose certificates are trusted.
    pub(crate) tls: ClientConfig,
    /// The file with authorities that are trusted beside those that browsers trust.
    pub(crate) ca_file: Option<PathBuf>,
    /// How long an attempt may take.
    pub(crate) timeout: Duration,
    /// The status by which the service says that it has an order already.
    pub(crate) duplicate_status: Option<StatusCode>,
    /// What follows an attempt that failed.
    pub(crate) retries: RetryPolicy,
    /// How many orders it is sent.
    pub(crate) gate: GateSettings,
}

impl FulfilmentSettings {
    /// What follows an attempt that failed.
    #[must_use]
    pub fn retries(&self) -> RetryPolicy {
        self.retries.clone()
    }

    /// How long an attempt may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Tells the log where orders go, and what is unusual about it.
    pub(super) fn log(&self) {
        let server = self.uri.authority().map(ToString::to_string).unwrap_or_default();
        tracing::info!(server, "orders are pushed to a service (FULFILMENT_URL)");
        if self.requests.secrets.is_none() {
            tracing::warn!(
                "orders are pushed without a signature: set FULFILMENT_SECRET, so that the service can tell them from forged ones"
            );
        }
    }
}

/// The URI of a service. The reason why a text is none never quotes it, as it may have a password in it.
pub(crate) fn service_uri(text: &str) -> Result<Uri, String> {
    let url = Url::parse(text).map_err(|error| format!("must be a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        Err("must begin with http:// or https://".to_owned())
    } else if !url.username().is_empty() || url.password().is_some() {
        Err("must have no user and no password: FULFILMENT_HEADERS_FILE can add an Authorization header".to_owned())
    } else if url.fragment().is_some() {
        Err("must have no fragment (#…), which is never sent".to_owned())
    } else {
        url.as_str().parse().map_err(|error| format!("must be a URL: {error}"))
    }
}

/// Trusts the authorities that browsers trust, and those whose certificates are in the file.
pub(crate) fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = ca_file {
        let unusable = |error: &dyn std::error::Error| format!("names a file that cannot be used: {error}");
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))?;
        let known = roots.len();
        for certificate in certificates {
            roots.add(certificate.map_err(|error| unusable(&error))?).map_err(|error| unusable(&error))?;
        }
        if roots.len() == known {
            return Err("names a file without a certificate (PEM)".to_owned());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| format!("cannot be used: {error}"))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_of_http_and_without_secrets() {
        for (text, uri) in [
            ("http://localhost", "http://localhost/"),
            ("https://shop.example:8443/orders?tenant=7", "https://shop.example:8443/orders?tenant=7"),
            ("http://[::1]:80/", "http://[::1]/"),
            ("http://2130706433/", "http://127.0.0.1/"),
            ("http://büro.example/ä", "http://xn--bro-hoa.example/%C3%A4"),
        ] {
            assert_eq!(service_uri(text).map(|uri| uri.to_string()).as_deref(), Ok(uri), "{text}");
        }
        for text in
            ["", "shop.example", "ftp://shop.example", "http://", "http://u:secret@x", "http://secret@x", "http://x#y"]
        {
            assert!(service_uri(text).is_err_and(|why| !why.contains("secret")), "{text}");
        }
    }

    #[test]
    fn a_file_of_authorities_has_certificates() {
        assert!(tls(None).is_ok());
        assert!(tls(Some(Path::new("/nonexistent"))).is_err());
        assert!(tls(Some(Path::new("/dev/null"))).is_err_and(|why| why.contains("without a certificate")));
    }
}
