//! Headers and bodies that an operation does not know: it refuses those that mean something, instead of ignoring them.

use orders_tests::{Api, Database, Reply, System};
use reqwest::Method;
use uuid::Uuid;

use crate::sample;
use crate::socket::{connect, read_all};

/// Headers that change what a request means, and that these operations do not know.
const CHANGES_MEANING: [(&str, &str); 5] = [
    ("If-Match", "\"a\""),
    ("If-Unmodified-Since", "Mon, 23 Nov 2026 14:01:04 GMT"),
    ("Content-Range", "bytes 0-9/20"),
    ("Expect", "payment"),
    ("Idempotency-Key", "8e03978e-40d5"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_changes_what_a_request_means_is_refused_by_its_name_before_anything_is_changed() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;

    for (method, path) in without_body(order_id) {
        let more = (method == Method::POST).then_some(("If-None-Match", "*"));
        for (name, value) in CHANGES_MEANING.into_iter().chain(more) {
            let reply =
                system.send(system.client().request(method.clone(), system.url(&path)).header(name, value)).await;

            assert_names(&reply, name);
        }
    }
    for path in ["/order/create-order", "/orders"] {
        for (name, value) in [("If-Match", "*"), ("If-None-Match", "*")] {
            let request = system.client().post(system.url(path)).header("content-type", "application/json");

            let reply = system.send(request.header(name, value).body(sample::order().to_string())).await;

            assert_names(&reply, name);
        }
    }
    assert_unchanged(&system.database, &system, order_id).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_where_none_is_taken_is_refused_before_anything_is_changed() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;

    // A retry may have one.
    for (method, path) in without_body(order_id).into_iter().filter(|(_, path)| !path.ends_with("/retry")) {
        for body in [r#"{"reason": "none of your business"}"#, "{}", " ", &"x".repeat(1 << 20)] {
            let request = system.client().request(method.clone(), system.url(&path)).body(body.to_owned());

            let problem = system.send(request.header("content-type", "application/json")).await.assert_problem(400);

            assert_eq!(problem["type"], "/problems/unexpected-body", "{method} {path} {body:.40}");
        }
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        for rest in [
            "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
            "transfer-encoding: chunked\r\n\r\nnonsense\r\n",
            "content-length: 2\r\nexpect: 100-continue\r\n\r\n",
        ] {
            let answer = read_all(&mut connect(&system, format!("{head}{rest}").as_bytes()).await).await;

            assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{method} {path} {rest}: {answer}");
            assert!(answer.contains("/problems/unexpected-body"), "{method} {path} {rest}: {answer}");
        }
    }
    assert_unchanged(&system.database, &system, order_id).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_body_is_no_body_however_it_is_sent() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;

    for (method, path) in without_body(order_id).into_iter().filter(|(_, path)| !path.ends_with("/retry")) {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        let empty = [
            "\r\n",
            "content-length: 0\r\n\r\n",
            "content-length: 0\r\ncontent-type: application/json\r\n\r\n",
            // As `curl -X POST -d ''` sends it.
            "content-length: 0\r\ncontent-type: application/x-www-form-urlencoded\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ];
        // On one connection, so that leftovers of one request would become part of the next.
        let last = format!("{head}connection: close\r\n\r\n");
        let sent: String = empty.iter().map(|rest| format!("{head}{rest}")).chain([last]).collect();

        let answers = read_all(&mut connect(&system, sent.as_bytes()).await).await;

        assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), empty.len() + 1, "{method} {path}: {answers}");
    }
    assert_eq!(system.database.state(order_id).await.0, "CANCELED");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_clients_send_by_themselves_is_ignored() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;
    let by_themselves = [
        ("authorization", "Bearer 17"),
        ("cache-control", "no-cache"),
        ("content-type", "application/json"),
        ("cookie", "a=b"),
        ("if-modified-since", "Mon, 23 Nov 2026 14:01:04 GMT"),
        ("if-range", "\"a\""),
        ("prefer", "return=minimal"),
        ("range", "bytes=0-9"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-anything", "a"),
    ];

    for (method, path) in without_body(order_id).into_iter().filter(|(_, path)| !path.ends_with("/retry")) {
        let known = (method == Method::GET).then_some(("if-none-match", "\"a\""));
        let request = system.client().request(method.clone(), system.url(&path));
        let headers = by_themselves.into_iter().chain(known);

        let reply = system.send(headers.fold(request, |request, (name, value)| request.header(name, value))).await;

        assert_eq!(reply.status, 200, "{method} {path}: {reply:?}");
    }
    for path in ["/docs", "/openapi.json", "/problems", "/livez", "/readyz", "/metrics/prometheus"] {
        let request = system.client().get(system.url(path));

        let reply =
            system.send(CHANGES_MEANING.iter().fold(request, |all, (name, value)| all.header(*name, *value))).await;

        assert_eq!(reply.status, 200, "it is the same whatever is sent, {path}: {reply:?}");
    }
    system.end().await;
}

/// Every operation that takes neither a body nor one of these headers.
fn without_body(order_id: Uuid) -> Vec<(Method, String)> {
    let order = format!("/orders/{order_id}");
    let reads = [&order, &format!("{order}/events"), &format!("{order}/why"), "/orders", "/order/status/PENDING"];
    let reads = reads.into_iter().chain(["/queue", "/metrics"]).map(|path| (Method::GET, path.to_owned()));
    let changes = [&format!("{order}/retry"), &format!("{order}/cancel"), "/queue/pause", "/queue/resume"];
    reads.chain(changes.map(|path| (Method::POST, path.to_owned()))).collect()
}

fn assert_names(reply: &Reply, header: &str) {
    let problem = reply.assert_problem(400);
    assert_eq!(problem["type"], "/problems/unsupported-header", "{header}: {problem}");
    assert!(problem["detail"].as_str().unwrap().contains(&format!("`{header}`")), "{header}: {problem}");
}

async fn assert_unchanged(database: &Database, api: &Api, order_id: Uuid) {
    assert_eq!(database.orders().await, 1);
    assert_eq!(database.state(order_id).await, ("PENDING".to_owned(), 0));
    assert_eq!(api.get("/queue").await.json()["paused"], false);
}
