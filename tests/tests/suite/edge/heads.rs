//! Heads that HTTP/1.1 forbids. hyper answers those that it cannot parse with a bare status; the API answers the others
//! with a problem. Nobody can be sure where such a request ends, so its connection is closed.

use std::time::Instant;

use orders_tests::{Api, SOON, System, Worker, database};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::sample;
use crate::socket::{connect, read_all, request};

const HOST: &str = "host: localhost\r\n";

/// An answer after which the program has nothing to wait for.
const CLOSE: &str = "connection: close\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_exactly_one_host_is_refused() {
    let system = System::start().await;

    for (version, hosts) in
        [("1.1", ""), ("1.1", "host: a\r\nhost: a\r\n"), ("1.1", "host: a b\r\n"), ("1.0", "host: a\r\nhost: b\r\n")]
    {
        let answer = create(&system, version, hosts, "").await;

        assert_refused(&answer, version, "400 Bad Request", "malformed-request");
    }
    assert_eq!(system.database.orders().await, 0);
    for (version, hosts) in
        [("1.1", "Host: localhost:8000\r\n"), ("1.1", "host: [::1]\r\n"), ("1.1", "host:\r\n"), ("1.0", "")]
    {
        let answer = create(&system, version, &format!("{hosts}{CLOSE}"), "").await;

        assert!(answer.starts_with(&format!("HTTP/{version} 201 Created\r\n")), "{version} {hosts}: {answer}");
    }
    let metrics = system.get("/metrics/prometheus").await.text;
    assert!(metrics.contains(r#"count{method="POST",route="/order/create-order",status="400"} 4"#), "{metrics}");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_answers_its_probes_whatever_host_they_name() {
    let database = database().await;
    let worker = Worker::start(&database.url, &[]).await;

    for hosts in ["", "host: a\r\nhost: a\r\n", "host: a b\r\n", HOST] {
        let sent = format!("GET /readyz HTTP/1.1\r\n{hosts}{CLOSE}\r\n");
        let answer = read_all(&mut connect(&worker, sent.as_bytes()).await).await;

        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ready\n"), "{hosts}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_a_coding_other_than_chunked_is_refused() {
    let system = System::start().await;

    for codings in [
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: identity, chunked\r\n",
    ] {
        let answer = create(&system, "1.1", HOST, codings).await;

        assert_refused(&answer, "1.1", "501 Not Implemented", "unsupported-transfer-coding");
    }
    // Such a body has no known end.
    let answer = create(&system, "1.1", HOST, "transfer-encoding: gzip\r\n").await;
    assert_refused_bare(&answer, "400 Bad Request");
    assert_eq!(system.database.orders().await, 0);
    let answer = create(&system, "1.1", &format!("{HOST}{CLOSE}"), "Transfer-Encoding: Chunked\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert_eq!(system.get("/problems/unsupported-transfer-coding").await.status, 200);
    assert!(!system.api.logs().contains("WARN"), "it is the client's fault");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_a_request_that_is_refused_for_its_head_is_no_request() {
    let system = System::start().await;

    let sent = "POST /queue/pause HTTP/1.1\r\n\r\n".to_owned() + &request("POST", "/queue/pause");
    let answer = read_all(&mut connect(&system, sent.as_bytes()).await).await;

    assert_refused(&answer, "1.1", "400 Bad Request", "malformed-request");
    assert_eq!(system.get("/queue").await.json()["paused"], false);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_none_or_too_large_is_refused_and_counted_nowhere() {
    let system = System::start().await;
    let worker = system.start_worker(&[]).await;
    let large = |bytes| format!("GET /livez HTTP/1.1\r\n{HOST}x-large: {}\r\n\r\n", "x".repeat(bytes));
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "x-one: 1\r\n".repeat(101));
    let two_lengths = format!("POST /orders HTTP/1.1\r\n{HOST}content-length: 1\r\ncontent-length: 2\r\n\r\n");

    for (sent, status) in [
        ("nonsense\r\n\r\n", "400 Bad Request"),
        (&two_lengths, "400 Bad Request"),
        (&large(20_000), "431 Request Header Fields Too Large"),
        (&large(2_000_000), "431 Request Header Fields Too Large"),
        (&many, "431 Request Header Fields Too Large"),
    ] {
        for program in [&*system.api, &*worker] {
            let answer = read_all(&mut connect(program, sent.as_bytes()).await).await;

            assert_refused_bare(&answer, status);
        }
    }
    let metrics = system.get("/metrics/prometheus").await.text;
    for status in ["400", "431"] {
        assert!(!metrics.contains(&format!("status=\"{status}\"")), "{metrics}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_behind_a_good_one_takes_nothing_from_it() {
    let system = System::start().await;

    let sent = request("GET", "/livez") + "nonsense\r\n\r\n";
    let answers = read_all(&mut connect(&system, sent.as_bytes()).await).await;

    assert!(answers.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    let (_, second) = answers.split_once("\r\n\r\nlive\n").unwrap();
    assert_refused_bare(second, "400 Bad Request");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_that_goes_on_sending_is_hung_up_on() {
    let system = System::start().await;
    let mut client = connect(&system, b"nonsense\r\n\r\n").await;
    let answer = read_all(&mut client).await;

    let start = Instant::now();
    while client.write_all(&[b'x'; 4096]).await.is_ok() {
        assert!(start.elapsed() < SOON, "it still reads");
    }

    assert_refused_bare(&answer, "400 Bad Request");
    system.end().await;
}

/// Places an order with these headers, and reads until the API hangs up.
async fn create(api: &Api, version: &str, headers: &str, codings: &str) -> String {
    let order = sample::order().to_string();
    let body = match codings {
        "" => format!("content-length: {}\r\n\r\n{order}", order.len()),
        _ => format!("\r\n{:x}\r\n{order}\r\n0\r\n\r\n", order.len()),
    };
    let head = format!("POST /order/create-order HTTP/{version}\r\ncontent-type: application/json");
    let sent = format!("{head}\r\n{headers}{codings}{body}");
    read_all(&mut connect(api, sent.as_bytes()).await).await
}

/// The answer is this problem, and nothing follows it.
fn assert_refused(answer: &str, version: &str, status: &str, kind: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    assert!(head.starts_with(&format!("HTTP/{version} {status}\r\n")), "{answer}");
    assert!(head.contains("\r\ncontent-type: application/problem+json"), "{answer}");
    assert!(version == "1.0" || head.contains("\r\nconnection: close"), "{answer}");
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!(problem["type"], format!("/problems/{kind}"), "{answer}");
}

/// The answer is this status without a body, and nothing follows it.
fn assert_refused_bare(answer: &str, status: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}
