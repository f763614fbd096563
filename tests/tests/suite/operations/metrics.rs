//! The report on the orders, in both of its forms.

use orders_tests::{Api, Database, Worker, database};
use serde_json::json;
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_are_those_of_the_document_to_the_letter() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;

    let report = api.get("/metrics").await;

    assert_eq!(report.status, 200);
    let zeros = json!({"data": {
        "Total orders processed": 0,
        "Pending orders:": 0,
        "Completed orders:": 0,
        "Processing orders:": 0,
        "Average processing time:": 0.0,
    }});
    assert_eq!(report.json(), zeros);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_counts_orders_by_status_and_averages_their_time() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    for seconds in [2, 4] {
        let order_id = api.place(&sample::order()).await;
        complete_after(&database, order_id, seconds).await;
    }
    claim(&database, api.place(&sample::order()).await).await;
    for _ in 0..3 {
        api.place(&sample::order()).await;
    }
    database.migrate().await;

    let report = api.get("/metrics").await;
    let slashed = api.get("/metrics/").await;

    let expected = json!({"data": {
        "Total orders processed": 2,
        "Pending orders:": 3,
        "Completed orders:": 2,
        "Processing orders:": 1,
        "Average processing time:": 3.0,
    }});
    assert_eq!(report.json(), expected);
    assert_eq!(slashed.json(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accept_header_chooses_the_form() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
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
        let mut request = api.client().get(api.url("/metrics"));
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }

        let reply = api.send(request).await;

        assert_eq!(reply.status, 200, "{accept:?}");
        assert!(reply.header("content-type").unwrap().starts_with(content_type), "{accept:?}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prometheus_address_is_always_text() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let request = api.client().get(api.url("/metrics/prometheus")).header("accept", "application/json");

    let reply = api.send(request).await;

    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").unwrap().starts_with("text/plain"), "{reply:?}");
    assert!(reply.text.contains("# TYPE "), "{reply:?}");
}

/// Moves an order to COMPLETED, so many seconds after it was created.
async fn complete_after(database: &Database, order_id: Uuid, seconds: i64) {
    sqlx::query(
        "update orders
         set status = 'COMPLETED', available_at = '9999-12-31', updated_at = date_add(created_at, interval ? second)
         where order_id = ?",
    )
    .bind(seconds)
    .bind(order_id)
    .execute(&database.pool)
    .await
    .unwrap();
}

/// Moves an order to PROCESSING, as a worker would.
async fn claim(database: &Database, order_id: Uuid) {
    sqlx::query(
        "update orders
         set status = 'PROCESSING', available_at = '9999-12-31', claim_token = ?, claimed_at = now(6), attempt = attempt + 1
         where order_id = ?",
    )
    .bind(Uuid::now_v7())
    .bind(order_id)
    .execute(&database.pool)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_tells_of_the_queue_and_its_workers() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let _worker = Worker::start(&database.url, &[]).await;
    assert_eq!(api.post("/queue/pause", "").await.status, 200);
    api.place(&sample::order()).await;

    let text = api.get("/metrics/prometheus").await.text;

    assert!(text.contains("\norders_queue_paused 1\n"), "{text}");
    assert!(text.contains("\norders_workers_live 1\n"), "{text}");
    assert!(text.contains("\norders_by_status{status=\"PENDING\"} 1\n"), "{text}");
    assert!(api.counter("orders_oldest_due_seconds").await > 0.0, "{text}");
}
