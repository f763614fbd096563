//! What people do to an order: cancel it and retry it.

use orders_tests::System;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_order_can_be_canceled_and_never_runs() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;
    let cancel = format!("/orders/{order_id}/cancel");

    let first = system.post(&cancel, "").await;
    let again = system.post(&cancel, "").await;

    assert_eq!((first.status, again.status), (200, 200), "{first:?} {again:?}");
    assert_eq!(first.json()["status"], "CANCELED");
    assert_eq!(first.json(), again.json());
    system.start_worker(&[]).await;
    let other = system.place(&sample::order()).await;
    system.wait_for_status(other, "COMPLETED").await;
    assert_eq!(system.database.state(order_id).await, ("CANCELED".to_owned(), 0));
    assert_eq!(system.story(order_id).await, ["placed", "canceled"]);
    assert_eq!(system.why(order_id).await["code"], "canceled");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_under_way_or_done_cannot_be_canceled() {
    let system = System::start().await;
    system.start_worker(&[("SIMULATED_PROCESSING_MS", "2000")]).await;
    let order_id = system.place(&sample::order()).await;
    let cancel = format!("/orders/{order_id}/cancel");
    system.wait_for_status(order_id, "PROCESSING").await;

    let under_way = system.post(&cancel, "").await.assert_problem(409);
    system.wait_for_status(order_id, "COMPLETED").await;
    let done = system.post(&cancel, "").await.assert_problem(409);

    assert_eq!(under_way["order_status"], "PROCESSING");
    assert_eq!(done["order_status"], "COMPLETED");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_order_can_be_retried_with_all_its_attempts() {
    let system = System::start().await;
    let env = [("SIMULATED_FAULTS", "reject=1")];
    let worker = system.start_worker(&env).await;
    let order_id = system.place(&sample::order()).await;
    system.wait_for_status(order_id, "FAILED").await;
    assert_eq!(system.why(order_id).await["code"], "failed");
    assert_eq!(worker.terminate().await.code(), Some(0));

    let retried = system.post(&format!("/orders/{order_id}/retry"), "").await;

    assert_eq!(retried.status, 200, "{retried:?}");
    let order = retried.json();
    assert_eq!((&order["status"], &order["attempt"]), (&json!("PENDING"), &json!(0)));
    assert_eq!(order["last_error"], Value::Null);
    let refused = system.post(&format!("/orders/{order_id}/retry"), "").await.assert_problem(409);
    assert_eq!(refused["order_status"], "PENDING");
    system.start_worker(&[]).await;
    system.wait_for_status(order_id, "COMPLETED").await;
    let told = ["placed", "claimed", "failed", "retried", "claimed", "completed"];
    assert_eq!(system.story(order_id).await, told);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_not_found() {
    let system = System::start().await;
    let order_id = Uuid::now_v7();

    for path in ["cancel", "retry"] {
        let _ = system.post(&format!("/orders/{order_id}/{path}"), "").await.assert_problem(404);
    }
    for path in ["events", "why"] {
        let _ = system.get(&format!("/orders/{order_id}/{path}")).await.assert_problem(404);
    }
    system.end().await;
}
