//! `orders-worker deliver`, and by it what each way to miss a service comes to.

mod curl;

use std::process::Output;

use orders_tests::{Folder, System, run};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::service::{Act, Service, answer, done};
use super::{SECRET, signature};
use crate::sample;

#[tokio::test]
async fn a_test_is_signed_and_its_answer_shown_with_its_outcome() {
    let service = Service::start(|_| Act::Answer(answer(200, "x-shop: 7\r\n", r#"{"tracking":"A-1"}"#))).await;

    let (code, text) = deliver_test(&service.url("/orders?tenant=7"), &[("FULFILMENT_SECRET", SECRET)]).await;

    assert_eq!(code, 0, "{text}");
    for part in ["200 OK\n", "x-shop: 7\n", "outcome: done, with the result {\"tracking\":\"A-1\"}\n"] {
        assert!(text.contains(part), "{text}");
    }
    let request = service.seen().remove(0);
    assert_eq!(request.line, "POST /orders?tenant=7 HTTP/1.1");
    assert_eq!(request.json()["type"], "order.test");
    assert_eq!(request.header("webhook-signature"), signature(SECRET, &request));
}

/// `outcome: …` as printed, by what a service does.
#[tokio::test]
async fn an_answer_that_is_none_has_its_outcome() {
    for (act, outcome) in [
        (Act::Hang(String::new()), "retry: no answer within 300 ms (timeout)"),
        (Act::Hang(answer(200, "", "").replace(": 0", ": 9")), "retry: no answer within 300 ms (timeout)"),
        (Act::Last(String::new()), "unavailable: the connection broke: "),
        (Act::Last("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}".to_owned()), "unavailable: the connection broke: "),
        (
            Act::Last("HTTP/1.1 503 X\r\ncontent-length: 9\r\n\r\n{}".to_owned()),
            "unavailable: the service answered 503",
        ),
        (
            Act::Last("SSH-2.0-OpenSSH\r\n".to_owned()),
            "unavailable: the service answered with something that is not HTTP: ",
        ),
        (Act::Answer(answer(200, "", r#"{"outcome":"rejected","reason":"no stock"}"#)), "rejected: no stock (error)"),
        (
            Act::Endless("HTTP/1.1 200 OK\r\nx: ".to_owned()),
            "unavailable: the service answered with something that is not HTTP: ",
        ),
        (Act::Answer(answer(200, "", r#"{"outcome":"canceled"}"#)), "canceled"),
        (Act::Answer(answer(409, "", "")), "retry: the service answered 409 Conflict (http_4xx)"),
    ] {
        // Only an answer that never comes has to be short of time; the others are what they are on a slow machine too.
        let timeout_ms = if matches!(act, Act::Hang(_)) { "300" } else { "60000" };
        let service = Service::start(move |_| act.clone()).await;

        let (code, text) = deliver_test(&service.url("/"), &[("FULFILMENT_TIMEOUT_MS", timeout_ms)]).await;

        assert!(code == 1 && text.contains(&format!("outcome: {outcome}")), "{outcome}: {text}");
        // No connection was used before, so there is none that an idle server could have closed.
        assert_eq!(service.seen().len(), 1, "{outcome}");
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_unavailable() {
    let closed = Service::start(|_| done()).await.url("/");
    let long = format!("http://{}.invalid/", "a".repeat(64));
    for (url, error) in [
        (closed.as_str(), "(connect)"),
        (&long, "(dns)"),
        ("http://0.0.0.0:1/", "may not be reached: it is unspecified (misconfigured)"),
        ("http://169.254.169.254/", "may not be reached: it is where a cloud keeps its metadata (misconfigured)"),
        ("http://2852039166/", "may not be reached: it is where a cloud keeps its metadata (misconfigured)"),
        ("http://[::ffff:a9fe:a9fe]/", "may not be reached: it is where a cloud keeps its metadata (misconfigured)"),
        ("http://[fe80::1]/", "may not be reached: it is link-local (misconfigured)"),
    ] {
        let (code, text) = deliver_test(url, &[]).await;

        assert_eq!(code, 1, "{text}");
        assert!(text.starts_with("outcome: unavailable: ") && text.contains(error), "{url}: {text}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Service::start(|_| done()).await;
    let location = format!("location: {}\r\n", other.url("/"));
    for status in [301, 302, 303, 307, 308] {
        let location = location.clone();
        let service = Service::start(move |_| Act::Answer(answer(status, &location, ""))).await;

        let (code, text) = deliver_test(&service.url("/"), &[]).await;

        assert!(code == 1 && text.contains("outcome: unavailable") && text.contains("(misconfigured)"), "{text}");
    }
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test]
async fn no_more_of_an_answer_is_read_than_a_result_may_have() {
    let endless = |_: &_| Act::Endless("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_owned());
    let service = Service::start(endless).await;

    let (code, text) = deliver_test(&service.url("/"), &[]).await;

    assert_eq!(code, 0, "{text}");
    assert!(text.contains("0 [more is not read]\noutcome: done, without a result\n"), "{text}");
    assert!(text.len() < 5_000, "{}", text.len());
    orders_tests::wait_until("the connection is closed", async || service.left() == 1).await;
}

#[tokio::test]
async fn a_certificate_must_be_of_the_host_and_of_a_trusted_authority() {
    let folder = Folder::new("fulfilment-tls");
    let ca_file = folder.path().join("ca.pem");
    let right = Service::start_with(Some(certified(&ca_file, "localhost")), |_| done()).await;
    let trusted = ("FULFILMENT_CA_FILE", ca_file.to_str().unwrap());

    let (code, text) = deliver_test(&right.url("/"), &[trusted]).await;
    assert_eq!(code, 0, "{text}");
    let wrong_host = right.url("/").replace("localhost", "127.0.0.1");
    for (url, env) in [(right.url("/"), &[][..]), (wrong_host, &[trusted])] {
        let (code, text) = deliver_test(&url, env).await;

        assert!(code == 1 && text.starts_with("outcome: unavailable: no secure connection"), "{text}");
        assert!(text.contains("(tls)"), "{text}");
    }
    let (code, text) = deliver_test(&right.url("/").replace("https", "http"), &[]).await;
    assert!(code == 1 && text.starts_with("outcome: unavailable"), "{text}");
    assert_eq!(right.seen().len(), 1, "only the first was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_delivered_by_hand_and_does_not_change() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;
    let before = system.order(order_id).await;
    let service = Service::start(|_| done()).await;
    let (id, url) = (order_id.to_string(), service.url("/it's"));
    let env = [("DATABASE_URL", system.database.url.as_str()), ("FULFILMENT_SECRET", SECRET)];

    let sent = run("orders-worker", &["deliver", "--order", &id, "--to", &url], &env).await;

    assert_eq!(shown(&sent).0, 0, "{}", shown(&sent).1);
    let seen = service.seen();
    let [request] = &seen[..] else { panic!("not one request: {seen:?}") };
    assert_eq!(request.line, "POST /it's HTTP/1.1");
    assert_eq!(request.header("webhook-id"), id);
    assert_eq!(request.header("webhook-signature"), signature(SECRET, request));
    assert_eq!(system.order(order_id).await, before);
    let absent =
        run("orders-worker", &["deliver", "--order", &uuid::Uuid::nil().to_string(), "--to", &url], &env).await;
    assert!(shown(&absent).1.contains("there is no order 00000000"), "{absent:?}");
    system.end().await;
}

/// Delivers a test to this URL, and returns the exit code and what was printed.
async fn deliver_test(url: &str, env: &[(&str, &str)]) -> (i32, String) {
    shown(&run("orders-worker", &["deliver", "--test", "--to", url], env).await)
}

fn shown(output: &Output) -> (i32, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// A certificate for this host, by an authority whose own is written to the file.
fn certified(ca_file: &std::path::Path, host: &str) -> TlsAcceptor {
    let mut ca = CertificateParams::new([]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(ca_file, ca.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(certificate.der().to_vec())],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        );
    TlsAcceptor::from(std::sync::Arc::new(config.unwrap()))
}
