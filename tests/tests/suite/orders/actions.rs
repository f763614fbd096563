//! What people do to an order: cancel it and retry it.

use orders_tests::{Api, Worker, database};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_order_can_be_canceled_and_never_runs() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let order_id = api.place(&sample::order()).await;
    let cancel = format!("/orders/{order_id}/cancel");

    let first = api.post(&cancel, "").await;
    let again = api.post(&cancel, "").await;

    assert_eq!((first.status, again.status), (200, 200), "{first:?} {again:?}");
    assert_eq!(first.json()["status"], "CANCELED");
    assert_eq!(first.json(), again.json());
    let _worker = Worker::start(&database.url, &[]).await;
    let other = api.place(&sample::order()).await;
    sample::wait_for_status(&api, other, "COMPLETED").await;
    assert_eq!(database.state(order_id).await, ("CANCELED".to_owned(), 0));
    assert_eq!(sample::names(&sample::events(&api, order_id).await), ["placed", "canceled"]);
    assert_eq!(sample::why(&api, order_id).await["code"], "canceled");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_under_way_or_done_cannot_be_canceled() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, &[("SIMULATED_PROCESSING_MS", "2000")]).await;
    let order_id = api.place(&sample::order()).await;
    let cancel = format!("/orders/{order_id}/cancel");
    sample::wait_for_status(&api, order_id, "PROCESSING").await;

    let under_way = api.post(&cancel, "").await.assert_problem(409);
    sample::wait_for_status(&api, order_id, "COMPLETED").await;
    let done = api.post(&cancel, "").await.assert_problem(409);

    assert_eq!(under_way["order_status"], "PROCESSING");
    assert_eq!(done["order_status"], "COMPLETED");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_order_can_be_retried_with_all_its_attempts() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let env = [("SIMULATED_FAULTS", "reject=1")];
    let worker = Worker::start(&database.url, &env).await;
    let order_id = api.place(&sample::order()).await;
    sample::wait_for_status(&api, order_id, "FAILED").await;
    assert_eq!(sample::why(&api, order_id).await["code"], "failed");
    assert_eq!(worker.terminate().await.code(), Some(0));

    let retried = api.post(&format!("/orders/{order_id}/retry"), "").await;

    assert_eq!(retried.status, 200, "{retried:?}");
    let order = retried.json();
    assert_eq!((&order["status"], &order["attempt"]), (&json!("PENDING"), &json!(0)));
    assert_eq!(order["last_error"], Value::Null);
    let refused = api.post(&format!("/orders/{order_id}/retry"), "").await.assert_problem(409);
    assert_eq!(refused["order_status"], "PENDING");
    let _worker = Worker::start(&database.url, &[]).await;
    sample::wait_for_status(&api, order_id, "COMPLETED").await;
    let told = ["placed", "claimed", "failed", "retried", "claimed", "completed"];
    assert_eq!(sample::names(&sample::events(&api, order_id).await), told);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_not_found() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let order_id = Uuid::now_v7();

    for path in ["cancel", "retry"] {
        let _ = api.post(&format!("/orders/{order_id}/{path}"), "").await.assert_problem(404);
    }
    for path in ["events", "why"] {
        let _ = api.get(&format!("/orders/{order_id}/{path}")).await.assert_problem(404);
    }
}
