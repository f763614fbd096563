//! What every answer carries and leaves behind: its request's id, a line of the log, a count, its encoding, its
//! connection.

use orders_tests::{Api, SOON, System, eventually};
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_a_request_id() {
    let system = System::start().await;
    let order = format!("/orders/{}", system.place(&sample::order()).await);

    for path in [
        "/livez",
        "/readyz",
        "/metrics",
        "/metrics/prometheus",
        "/docs",
        "/openapi.json",
        "/openapi-3.0.json",
        "/nowhere",
        "/orders/17",
        &order,
    ] {
        let given = system.send(system.client().get(system.url(path)).header("x-request-id", "order-4711:a/b")).await;
        let fresh = system.get(path).await;
        let mad = system.send(system.client().get(system.url(path)).header("x-request-id", "<script>")).await;

        assert_eq!(given.header("x-request-id"), Some("order-4711:a/b"), "{path}");
        let ids = [&fresh, &mad].map(|reply| reply.header("x-request-id").unwrap().parse::<Uuid>().unwrap());
        assert!(ids[0] < ids[1], "they rise with time");
        assert_eq!(given.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    assert_eq!(system.get(&order).await.header("cache-control"), Some("private, no-cache"));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_ours_is_one_line_of_the_log_with_its_request_and_its_cause() {
    let system = System::start_behind_proxy(&[]).await;
    system.proxy.cut();

    let order = sample::order().to_string();
    let read =
        system.client().get(system.url(&format!("/orders/{}", Uuid::now_v7()))).header("x-request-id", "the-read");
    let write = system.client().post(system.url("/order/create-order")).header("content-type", "application/json");
    let write = write.header("x-request-id", "the-write").body(order);
    let (read, write) = tokio::join!(system.send(read), system.send(write));

    assert_eq!((read.status, write.status), (503, 503));
    let logs = eventually("both are in the log", SOON, || async {
        let logs = system.api.logs();
        ["the-read", "the-write"].iter().all(|id| logs.contains(id)).then_some(logs)
    })
    .await;
    for (id, route) in [("the-read", "/orders/{order_id}"), ("the-write", "/order/create-order")] {
        let lines: Vec<&str> = logs.lines().filter(|line| line.contains(id)).collect();
        let [line] = lines[..] else { panic!("{id}: {lines:?}") };
        assert!(line.contains(route) && line.contains("WARN") && line.contains("cause="), "{line}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_the_documented_path() {
    let system = System::start().await;

    system.get(&format!("/orders/{}", Uuid::now_v7())).await;
    system.get("/orders/17/").await;
    system.get("/problems/not-found").await;
    system.get("/no/where").await;

    let metrics = system.get("/metrics/prometheus").await.text;
    for labels in [
        r#"method="GET",route="/orders/{order_id}",status="404""#,
        r#"method="GET",route="/orders/{order_id}",status="400""#,
        r#"method="GET",route="/problems/{slug}",status="200""#,
        r#"method="GET",route="none",status="404""#,
    ] {
        assert!(
            metrics.contains(&format!("orders_http_request_duration_seconds_count{{{labels}}} 1\n")),
            "{labels}: {metrics}"
        );
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_compressed_for_those_who_ask_and_small_ones_are_not() {
    let system = System::start().await;
    for _ in 0..20 {
        system.place(&sample::order()).await;
    }
    let order = format!("/orders/{}", system.place(&sample::order()).await);

    for path in ["/openapi.json", "/docs", "/order/status/PENDING"] {
        let plain = system.get(path).await;
        assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")), "{path}");
        for coding in ["gzip", "br"] {
            let (reply, bytes) = get_coded(&system, path, coding).await;

            assert_eq!(reply.headers()["content-encoding"], coding, "{path}");
            assert_eq!(reply.headers()["vary"], "accept-encoding", "{path}");
            assert!(bytes.len() * 2 < plain.text.len(), "{path}: {} of {}", bytes.len(), plain.text.len());
        }
        let (refused, _) = get_coded(&system, path, "gzip;q=0, identity").await;
        assert!(!refused.headers().contains_key("content-encoding"), "{path}");
    }
    for path in [order.as_str(), "/livez", "/nowhere"] {
        let (reply, _) = get_coded(&system, path, "gzip, br").await;

        assert!(!reply.headers().contains_key("content-encoding"), "{path}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_body_was_not_read_is_closed_and_says_so() {
    let system = System::start().await;
    let (order, large) = (sample::order().to_string(), " ".repeat(64 * 1024 + 1));

    for (path, body, connection) in [
        ("/order/create-order", order.as_str(), None),
        ("/order/create-order", "{}", None),
        ("/order/create-order", large.as_str(), Some("close")),
        ("/nowhere", order.as_str(), Some("close")),
        ("/livez", &order, Some("close")),
        ("/queue/resume", &order, Some("close")),
        ("/queue/resume", "", None),
    ] {
        let reply = system.post(path, body).await;

        assert_eq!(reply.header("connection"), connection, "{path}: {reply:?}");
    }
    system.end().await;
}

/// The head of an answer, and its body as it came.
async fn get_coded(api: &Api, path: &str, coding: &str) -> (reqwest::Response, Vec<u8>) {
    let request = || api.client().get(api.url(path)).header("accept-encoding", coding).send();
    let bytes = request().await.unwrap().bytes().await.unwrap().to_vec();
    (request().await.unwrap(), bytes)
}
