//! Encrypted connections to the server, and how each side proves its identity.

use std::fs;

use orders_tests::{Api, Folder, OwnServer, Proxy, Worker};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use reqwest::Url;

use super::{doctor, wait_until_an_order_is_completed};

#[tokio::test(flavor = "multi_thread")]
async fn each_ssl_mode_lets_in_whom_it_should_and_no_other() {
    let files = Certificates::new();
    let server = files.server(&[]).await;
    // The certificate is that of `localhost`, and not that of the server's own address.
    let proxy = Proxy::start(&server.url).await;
    let (named, other) = (format!("localhost:{}", proxy.address().port()), server.address().to_string());
    let (ca, unknown_ca) = (files.path("ca.pem"), files.path("unknown-ca.pem"));
    let verifying = |mode, ca: &str| format!("ssl-mode={mode}&ssl-ca={ca}");

    for (host, parameters, expected) in [
        (&other, "ssl-mode=PREFERRED".to_owned(), Ok("ok    tls: the connection is encrypted (TLS")),
        (&other, "ssl-mode=REQUIRED".to_owned(), Ok("ok    tls: the connection is encrypted (TLS")),
        (&other, verifying("VERIFY_CA", &ca), Ok("certificate is verified")),
        (&named, verifying("VERIFY_IDENTITY", &ca), Ok("certificate is verified")),
        (&other, verifying("VERIFY_IDENTITY", &ca), Err("not valid for name")),
        (&other, verifying("VERIFY_CA", &unknown_ca), Err("UnknownIssuer")),
        (&named, verifying("VERIFY_IDENTITY", &unknown_ca), Err("UnknownIssuer")),
        // Without an authority of its own the connection trusts those of the web, and none of them has signed this one.
        (&other, "ssl-mode=VERIFY_CA".to_owned(), Err("UnknownIssuer")),
    ] {
        let (code, text) = doctor(&url(&server, host, &parameters)).await;

        match expected {
            Ok(said) => assert!(code == Some(0) && text.contains(said), "{host} {parameters}: {text}"),
            Err(said) => {
                assert_eq!((code, text.lines().count()), (Some(1), 1), "{host} {parameters}: {text}");
                assert!(text.contains(said), "{host} {parameters}: {text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_placed_and_completed_where_both_sides_prove_who_they_are() {
    let files = Certificates::new();
    let server = files.server(&["--require-secure-transport=ON"]).await;
    let proxy = Proxy::start(&server.url).await;
    server.execute("alter user 'orders'@'%' require x509").await;
    let verifying = format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={}", files.path("ca.pem"));
    let both = format!("{verifying}&ssl-cert={}&ssl-key={}", files.path("cert.pem"), files.path("key.pem"));
    let named = format!("localhost:{}", proxy.address().port());

    let (code, text) = doctor(&url(&server, &named, &verifying)).await;
    assert_eq!((code, text.lines().count()), (Some(1), 1), "without a certificate: {text}");
    assert!(text.contains("Access denied"), "{text}");
    let (code, text) = doctor(&url(&server, &named, "ssl-mode=DISABLED")).await;
    assert_eq!((code, text.lines().count()), (Some(1), 1), "without TLS: {text}");

    let url = url(&server, &named, &both);
    let api = Api::start(&url, &[]).await;
    let _worker = Worker::start(&url, &[]).await;
    wait_until_an_order_is_completed(&api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_an_account_that_would_send_its_password_in_clear_gets_a_hint() {
    let server = OwnServer::start(&[]).await;
    if server.is_mariadb().await {
        // Its accounts send none; and it has no TLS.
        let (code, text) = doctor(&url(&server, &server.address().to_string(), "ssl-mode=REQUIRED")).await;
        assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
        assert!(text.contains("TLS"), "{text}");
        return;
    }
    // A server that has let a user in once remembers it until this statement, or until its end.
    server.execute("flush privileges").await;
    let url = url(&server, &server.address().to_string(), "ssl-mode=DISABLED");

    let (code, text) = doctor(&url).await;

    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains("set ssl-mode=REQUIRED"), "{text}");
}

/// The server's URL for the programs, with another host and these parameters.
fn url(server: &OwnServer, host: &str, parameters: &str) -> String {
    let mut url = Url::parse(&server.url.replace(&server.address().to_string(), host)).unwrap();
    url.set_query(Some(parameters));
    url.into()
}

/// The certificates and keys of the server and the programs: a folder of PEM files.
struct Certificates {
    folder: Folder,
}

impl Certificates {
    fn new() -> Self {
        let files = Self { folder: Folder::new("certificates") };
        let (ca, unknown) = (authority("Orders"), authority("Nobody"));
        files.write("ca.pem", &ca.pem());
        files.write("unknown-ca.pem", &unknown.pem());
        for (name, of) in [("server-", "localhost"), ("", "orders")] {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new([of.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
            files.write(&format!("{name}cert.pem"), &certificate.pem());
            files.write(&format!("{name}key.pem"), &key.serialize_pem());
        }
        files
    }

    /// A server with a certificate for `localhost`, that lets in clients with one of the same authority.
    async fn server(&self, args: &[&str]) -> OwnServer {
        let files = [("ca", "ca.pem"), ("cert", "server-cert.pem"), ("key", "server-key.pem")];
        let options = files.map(|(option, file)| format!("--ssl-{option}={}", self.path(file)));
        let options: Vec<_> = options.iter().map(String::as_str).chain(args.iter().copied()).collect();
        OwnServer::start_beside(self.folder.path(), &options).await
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}
