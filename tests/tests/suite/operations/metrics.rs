//! The report on the orders, in both of its forms.

use orders_tests::System;
use serde_json::json;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_are_those_of_the_document_to_the_letter() {
    let system = System::start().await;

    let report = system.get("/metrics").await;

    assert_eq!(report.status, 200);
    let zeros = json!({"data": {
        "Total orders processed": 0,
        "Pending orders:": 0,
        "Completed orders:": 0,
        "Processing orders:": 0,
        "Average processing time:": 0.0,
    }});
    assert_eq!(report.json(), zeros);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_counts_orders_by_status_and_averages_their_time() {
    let system = System::start().await;
    for seconds in [2, 4] {
        let completed = format!("status = 'COMPLETED', updated_at = created_at + interval {seconds} second");
        let order_id = system.place(&sample::order()).await;
        system.database.set(order_id, &format!("{completed}, available_at = '9999-12-31'")).await;
    }
    let claimed = "status = 'PROCESSING', claim_token = repeat('x', 16), claimed_at = now(6), attempt = 1";
    let order_id = system.place(&sample::order()).await;
    system.database.set(order_id, &format!("{claimed}, available_at = '9999-12-31'")).await;
    for _ in 0..3 {
        system.place(&sample::order()).await;
    }
    system.database.migrate().await;

    let report = system.get("/metrics").await;
    let slashed = system.get("/metrics/").await;

    let expected = json!({"data": {
        "Total orders processed": 2,
        "Pending orders:": 3,
        "Completed orders:": 2,
        "Processing orders:": 1,
        "Average processing time:": 3.0,
    }});
    assert_eq!(report.json(), expected);
    assert_eq!(slashed.json(), expected);
    system.end_with_work_under_way().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accept_header_chooses_the_form() {
    let system = System::start().await;
    let of_prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";

    for (accept, content_type) in [
        (None, "application/json"),
        (Some("*/*"), "application/json"),
        (Some("application/json"), "application/json"),
        (Some("text/plain;q=0.5, application/json"), "application/json"),
        (Some("text/html, */*;q=0.8"), "application/json"),
        (Some("text/plain"), "text/plain"),
        (Some("application/json;q=0.5, text/plain"), "text/plain"),
        (Some(of_prometheus), "text/plain"),
    ] {
        let mut request = system.client().get(system.url("/metrics"));
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }

        let reply = system.send(request).await;

        assert_eq!(reply.status, 200, "{accept:?}");
        assert!(reply.header("content-type").unwrap().starts_with(content_type), "{accept:?}: {reply:?}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prometheus_address_is_always_text() {
    let system = System::start().await;
    let request = system.client().get(system.url("/metrics/prometheus")).header("accept", "application/json");

    let reply = system.send(request).await;

    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").unwrap().starts_with("text/plain"), "{reply:?}");
    assert!(reply.text.contains("# TYPE "), "{reply:?}");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_tells_of_the_queue_and_its_workers() {
    let system = System::start().await;
    system.start_worker(&[]).await;
    assert_eq!(system.post("/queue/pause", "").await.status, 200);
    system.place(&sample::order()).await;

    let text = system.get("/metrics/prometheus").await.text;

    assert!(text.contains("\norders_queue_paused 1\n"), "{text}");
    assert!(text.contains("\norders_workers_live 1\n"), "{text}");
    assert!(text.contains("\norders_by_status{status=\"PENDING\"} 1\n"), "{text}");
    assert!(system.api.counter("orders_oldest_due_seconds").await > 0.0, "{text}");
    system.end().await;
}
