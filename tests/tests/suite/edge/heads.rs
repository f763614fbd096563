//! Requests that HTTP/1.1 itself forbids.

use orders_tests::{Api, Worker, database};
use serde_json::Value;

use crate::sample;
use crate::socket::{connect, read_all};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_exactly_one_host_is_refused() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, &[]).await;

    for (version, hosts) in [("1.1", ""), ("1.1", "host: a\r\nhost: a\r\n"), ("1.1", "host: a b\r\n")]
        .into_iter()
        .chain([("1.0", "host: a\r\nhost: b\r\n")])
    {
        let answer = create(&api, version, hosts, "").await;
        assert_refused(&answer, version, "400 Bad Request", "malformed-request");
        assert_refused_bare(&ready(&worker, version, hosts).await, "400 Bad Request");
    }
    assert_eq!(database.orders().await, 0);
    for (version, hosts) in
        [("1.1", "Host: localhost:8000\r\n"), ("1.1", "host: [::1]\r\n"), ("1.1", "host:\r\n"), ("1.0", "")]
    {
        let answer = create(&api, version, hosts, "").await;

        assert!(answer.starts_with(&format!("HTTP/{version} 201 Created\r\n")), "{version} {hosts}: {answer}");
        assert!(ready(&worker, version, hosts).await.ends_with("ready\n"), "{version} {hosts}");
    }
    let metrics = api.get("/metrics/prometheus").await.text;
    assert!(metrics.contains(r#"count{method="other",route="none",status="400"} 4"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_a_coding_other_than_chunked_is_refused() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let host = "host: localhost\r\n";

    for codings in [
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: identity, chunked\r\n",
    ] {
        let answer = create(&api, "1.1", host, codings).await;
        assert_refused(&answer, "1.1", "501 Not Implemented", "unsupported-transfer-coding");
    }
    // Where such a body ends nobody knows.
    let answer = create(&api, "1.1", host, "transfer-encoding: gzip\r\n").await;
    assert_refused(&answer, "1.1", "400 Bad Request", "malformed-request");
    assert_eq!(database.orders().await, 0);
    let answer = create(&api, "1.1", host, "Transfer-Encoding: Chunked\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert_eq!(api.get("/problems/unsupported-transfer-coding").await.status, 200);
    assert!(!api.logs().contains("WARN"), "it is the client's fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_a_request_that_is_refused_for_its_head_is_no_request() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;

    let sent = "POST /queue/pause HTTP/1.1\r\n\r\nPOST /queue/pause HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let answer = read_all(&mut connect(&api, sent.as_bytes()).await).await;

    assert_refused(&answer, "1.1", "400 Bad Request", "malformed-request");
    assert_eq!(api.get("/queue").await.json()["paused"], false);
}

/// Places an order with these headers, and reads until the API hangs up.
async fn create(api: &Api, version: &str, hosts: &str, codings: &str) -> String {
    let order = sample::order().to_string();
    let body = match codings {
        "" => format!("content-length: {}\r\n\r\n{order}", order.len()),
        _ => format!("\r\n{:x}\r\n{order}\r\n0\r\n\r\n", order.len()),
    };
    let head =
        format!("POST /order/create-order HTTP/{version}\r\nconnection: close\r\ncontent-type: application/json");
    let sent = format!("{head}\r\n{hosts}{codings}{body}");
    read_all(&mut connect(api, sent.as_bytes()).await).await
}

async fn ready(worker: &Worker, version: &str, hosts: &str) -> String {
    let sent = format!("GET /readyz HTTP/{version}\r\nconnection: close\r\n{hosts}\r\n");
    read_all(&mut connect(worker, sent.as_bytes()).await).await
}

/// It is this problem, and all that comes.
fn assert_refused(answer: &str, version: &str, status: &str, kind: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    assert!(head.starts_with(&format!("HTTP/{version} {status}\r\n")), "{answer}");
    assert!(head.contains("\r\ncontent-type: application/problem+json"), "{answer}");
    assert!(version == "1.0" || head.contains("\r\nconnection: close"), "{answer}");
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!(problem["type"], format!("/problems/{kind}"), "{answer}");
}

fn assert_refused_bare(answer: &str, status: &str) {
    let is_status = answer.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(status));
    assert!(is_status && answer.ends_with("\r\n\r\n"), "{answer}");
}
