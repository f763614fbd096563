//! Every failure as a problem document (RFC 9457) of a kind that has a page.

use orders_tests::{Api, Reply, System};
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_a_problem_whose_type_is_a_page() {
    let system = System::start().await;
    let (create, list) = ("/order/create-order", "/order/status/PENDING");
    let (order, nobody) = (sample::order().to_string(), format!("/orders/{}", Uuid::now_v7()));
    let large = " ".repeat(64 * 1024 + 1);
    let json = ("content-type", "application/json");

    for (method, path, header, body, status, slug) in [
        ("GET", "/nowhere", json, "", 404, "not-found"),
        ("GET", "/docs/nowhere", json, "", 404, "not-found"),
        ("GET", "/problems/nowhere", json, "", 404, "not-found"),
        ("GET", &nobody, json, "", 404, "no-such-order"),
        ("GET", "/orders/17", json, "", 400, "invalid-parameter"),
        ("GET", "/order/status/PENDING?limit=0", json, "", 400, "invalid-parameter"),
        ("GET", "/order/status/PENDING?limit=", json, "", 400, "invalid-parameter"),
        ("GET", "/order/status/PENDING?lmit=5", json, "", 400, "invalid-parameter"),
        ("GET", "/order/status/PENDING?limit=5&limit=6", json, "", 400, "invalid-parameter"),
        ("POST", "/queue/pause?for=ever", json, "", 400, "invalid-parameter"),
        ("GET", "/order/status/PENDING?cursor=x", json, "", 400, "invalid-cursor"),
        ("DELETE", list, json, "", 405, "method-not-allowed"),
        ("POST", "/livez", json, "", 405, "method-not-allowed"),
        ("POST", "/docs", json, "", 405, "method-not-allowed"),
        ("PUT", "/openapi.json", json, "", 405, "method-not-allowed"),
        ("OPTIONS", create, json, "", 405, "method-not-allowed"),
        ("HEAD", create, json, "", 405, ""),
        ("GET", list, ("accept", "text/html"), "", 406, "not-acceptable"),
        ("GET", list, ("accept", "application/json;q=0, */*"), "", 406, "not-acceptable"),
        ("POST", "/queue/pause", ("accept", "text/csv"), "", 406, "not-acceptable"),
        ("GET", "/metrics", ("accept", "image/png"), "", 406, "not-acceptable"),
        ("GET", list, ("if-match", "*"), "", 400, "unsupported-header"),
        ("POST", "/queue/pause", ("idempotency-key", "a"), "", 400, "unsupported-header"),
        ("POST", "/queue/pause", json, "{}", 400, "unexpected-body"),
        ("POST", create, json, "{", 400, "malformed-body"),
        ("POST", create, json, &large, 413, "body-too-large"),
        ("POST", create, ("content-type", "text/plain"), &order, 415, "unsupported-media-type"),
        ("POST", create, json, "{}", 422, "invalid-body"),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request =
            system.client().request(method, system.url(path)).header(header.0, header.1).body(body.to_owned());

        let reply = system.send(request).await;

        let what = format!("{path} {header:?}: {reply:?}");
        assert_eq!(reply.status, status, "{what}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{what}");
        if !slug.is_empty() {
            assert_eq!(reply.assert_problem(status)["type"], format!("/problems/{slug}"), "{what}");
            assert_type_has_a_page(&system, &reply).await;
        }
    }
    assert_eq!(system.database.orders().await, 0);
    assert!(!system.get("/queue").await.json()["paused"].as_bool().unwrap(), "what was refused had no effect");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_is_refused_as_such() {
    let system = System::start().await;

    for codings in [&["gzip"][..], &["identity", "gzip"]] {
        let request = system.client().post(system.url("/order/create-order")).body(sample::order().to_string());
        let request = request.header("content-type", "application/json");
        let request = codings.iter().fold(request, |request, coding| request.header("content-encoding", *coding));

        let problem = system.send(request).await.assert_problem(415);

        assert!(problem["detail"].as_str().unwrap().contains("compressed"), "{problem}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_method_is_answered_with_those_that_there_are() {
    let system = System::start().await;
    let order = format!("/orders/{}", Uuid::now_v7());

    for (path, allowed) in [
        ("/order/create-order", "POST"),
        ("/order/create-order/", "POST"),
        ("/order/status/PENDING", "GET, HEAD"),
        (&order, "GET, HEAD"),
        (&format!("{order}/cancel"), "POST"),
        ("/readyz", "GET, HEAD"),
        ("/docs", "GET, HEAD"),
        ("/problems/not-found", "GET, HEAD"),
    ] {
        let reply = system.send(system.client().delete(system.url(path))).await;

        let _ = reply.assert_problem(405);
        assert_eq!(reply.header("allow"), Some(allowed), "{path}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_answers_as_get_without_the_body() {
    let system = System::start().await;
    let order = format!("/orders/{}", system.place(&sample::order()).await);

    for path in [order.as_str(), "/order/status/PENDING", "/docs", "/openapi.json", "/livez", "/problems/not-found"] {
        let (head, get) = (system.send(system.client().head(system.url(path))).await, system.get(path).await);

        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        for header in ["content-type", "content-length", "cache-control", "etag"] {
            assert_eq!(head.header(header), get.header(header), "{path} {header}");
        }
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_is_named_with_its_rule_and_its_value_is_not_repeated() {
    let system = System::start().await;
    let long = "x".repeat(3_000);

    for (path, detail) in [
        (format!("/orders/{long}"), "The parameter `order_id` must be a UUID."),
        (format!("/order/status/PENDING?limit={long}"), "The parameter `limit` must be an integer from 1 to 1000."),
        ("/order/status/PENDING?limit=1001".to_owned(), "The parameter `limit` must be an integer from 1 to 1000."),
    ] {
        assert_eq!(system.get(&path).await.assert_problem(400)["detail"], detail, "{path:.60}");
    }
    for path in [
        format!("/order/status/{long}"),
        format!("/order/status/PENDING?{long}=1"),
        format!("/order/status/PENDING?cursor={long}"),
        format!("/{long}"),
    ] {
        let reply = system.get(&path).await;

        assert!((400..=404).contains(&reply.status), "{reply:?}");
        assert!(!reply.text.contains(&"x".repeat(101)), "{reply:?}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_problems_leads_to_a_page_for_each() {
    let system = System::start().await;

    let list = system.get("/problems/").await;

    assert_eq!(list.status, 200);
    let pages: Vec<&str> = list
        .text
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|it| it.starts_with('/'))
        .collect();
    assert!(pages.len() > 15, "{pages:?}");
    for page in pages {
        let reply = system.get(page).await;

        assert_eq!(reply.status, 200, "{page}");
        assert!(reply.header("content-type").unwrap().starts_with("text/html"), "{page}");
        assert!(!reply.text.contains("<script"), "{page}");
        for part in ["What it means", "What to do", "application/problem+json"] {
            assert!(reply.text.contains(part), "{page} {part}");
        }
    }
    system.end().await;
}

/// The page of a problem's type shows its title.
async fn assert_type_has_a_page(api: &Api, reply: &Reply) {
    let problem: Value = reply.json();
    let page = api.get(problem["type"].as_str().unwrap()).await;
    assert_eq!(page.status, 200, "{problem}");
    assert!(page.text.contains(problem["title"].as_str().unwrap()), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_repeats_a_body_of_another_shape() {
    let system = System::start().await;
    let secret = "4111111111111111".repeat(50);

    for body in [format!("{secret:?}"), format!("[{secret:?}]"), format!("{{\"user_id\": {secret:?}}}")] {
        let reply = system.post("/orders", &body).await;

        assert_eq!(reply.status, 422, "{reply:?}");
        assert!(!reply.assert_problem(422).to_string().contains("4111"), "{reply:?}");
    }
    system.end().await;
}
