//! Orders on their way through a worker.

use chrono::DateTime;
use orders_tests::{System, wait_until};
use serde_json::Value;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_placed_order_is_claimed_and_completed() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;
    system.start_worker(&[("SIMULATED_PROCESSING_MS", "10")]).await;

    let order = system.wait_for_status(order_id, "COMPLETED").await;

    let time = |name: &str| DateTime::parse_from_rfc3339(order[name].as_str().unwrap()).unwrap();
    assert_eq!(order["attempt"], 1);
    assert_eq!(order["available_at"], Value::Null);
    assert!(time("created_at") <= time("claimed_at"), "{order}");
    assert!(time("claimed_at") < time("completed_at"), "{order}");
    assert_eq!(time("updated_at"), time("completed_at"), "{order}");
    assert_eq!(system.database.state(order_id).await, ("COMPLETED".to_owned(), 1));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_work_shows_as_processing() {
    let system = System::start().await;
    system.start_worker(&[("SIMULATED_PROCESSING_MS", "60000")]).await;

    let order_id = system.place(&sample::order()).await;

    let order = system.wait_for_status(order_id, "PROCESSING").await;
    assert_eq!(order["attempt"], 1);
    assert!(order["claimed_at"].is_string(), "{order}");
    assert_eq!(order["completed_at"], Value::Null);
    let list = system.get("/order/status/processing").await.json();
    assert_eq!(list[0]["order_id"], order_id.to_string());
    system.end_with_work_under_way().await;
}

/// Rescues and the list of orders in work read every row of that table.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_leaves_its_table_when_its_orders_have_ended_however_they_did() {
    let system = System::start().await;
    let env =
        [("SIMULATED_FAULTS", "fail=0.3,reject=0.3"), ("WORKER_RETRY_BASE_MS", "1"), ("WORKER_MAX_ATTEMPTS", "2")];
    let worker = system.start_worker(&env).await;

    for _ in 0..40 {
        let order_id = system.place(&sample::order()).await;
        wait_until("it has ended", async || {
            matches!(system.database.state(order_id).await.0.as_str(), "COMPLETED" | "FAILED")
        })
        .await;
    }

    let claims = "select count(*) from claims";
    let left: i64 = system.database.scalar(claims).await;
    // A claim deletes the rows of claims that ended earlier.
    assert!((1..=3).contains(&left), "{left} of 40 and more");
    assert_eq!(worker.terminate().await.code(), Some(0));
    system.start_worker(&[("WORKER_DEAD_AFTER_SECS", "1")]).await;
    wait_until("those of a worker that is gone are taken away", async || {
        system.database.scalar::<i64>(claims).await == 0
    })
    .await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_claims_no_more_than_it_has_slots() {
    let system = System::start().await;
    for _ in 0..5 {
        system.place(&sample::order()).await;
    }
    let env = [("SIMULATED_PROCESSING_MS", "60000"), ("WORKER_CONCURRENCY", "2"), ("SHUTDOWN_GRACE_SECS", "1")];
    let worker = system.start_worker(&env).await;
    system.database.wait_for_orders_in("PROCESSING", 2).await;

    let status = worker.terminate().await;

    assert_eq!(status.code(), Some(0));
    let claimed: i64 =
        system.database.scalar("select count(*) from orders where claimed_at < '9999-12-31' or attempt > 0").await;
    assert_eq!(claimed, 2);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_worker_finish_what_it_can_within_the_grace_period() {
    let system = System::start().await;
    let env = [("SIMULATED_PROCESSING_MS", "2000"), ("SHUTDOWN_GRACE_SECS", "20")];
    let worker = system.start_worker(&env).await;
    let order_id = system.place(&sample::order()).await;
    // A claim whose answer comes after the signal is handed back.
    wait_until("the work has begun", async || worker.counter("orders_worker_slots_busy").await > 0.0).await;

    let status = worker.terminate().await;

    assert_eq!(status.code(), Some(0));
    assert_eq!(system.database.state(order_id).await, ("COMPLETED".to_owned(), 1));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_releases_what_a_worker_cannot_finish() {
    let system = System::start().await;
    let env = [("SIMULATED_PROCESSING_MS", "60000"), ("SHUTDOWN_GRACE_SECS", "1")];
    let worker = system.start_worker(&env).await;
    let order_id = system.place(&sample::order()).await;
    system.database.wait_for_status(order_id, "PROCESSING").await;

    let status = worker.terminate().await;

    assert_eq!(status.code(), Some(0));
    assert_eq!(system.database.state(order_id).await, ("PENDING".to_owned(), 0), "a release takes no attempt away");
    system.start_worker(&[("SIMULATED_PROCESSING_MS", "0")]).await;
    system.database.wait_for_status(order_id, "COMPLETED").await;
    assert_eq!(system.database.state(order_id).await, ("COMPLETED".to_owned(), 1));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_claim_cannot_complete_the_order() {
    assert_cannot_end(&[("SIMULATED_PROCESSING_MS", "2000"), ("SHUTDOWN_GRACE_SECS", "20")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_claim_cannot_fail_the_order() {
    let reject = ("SIMULATED_FAULTS", "reject=1");
    assert_cannot_end(&[("SIMULATED_PROCESSING_MS", "2000"), ("SHUTDOWN_GRACE_SECS", "20"), reject]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_claim_cannot_release_the_order() {
    assert_cannot_end(&[("SIMULATED_PROCESSING_MS", "60000"), ("SHUTDOWN_GRACE_SECS", "1")]).await;
}

/// Gives the order to another claim while the worker processes it; when the worker has ended, it has changed nothing.
async fn assert_cannot_end(env: &[(&str, &str)]) {
    let system = System::start().await;
    let worker = system.start_worker(env).await;
    let order_id = system.place(&sample::order()).await;
    system.database.wait_for_status(order_id, "PROCESSING").await;
    system.database.set(order_id, "claim_token = repeat('x', 16)").await;

    // The worker ends only after it has tried to store the outcome.
    let status = worker.terminate().await;

    assert_eq!(status.code(), Some(0));
    assert_eq!(system.database.state(order_id).await, ("PROCESSING".to_owned(), 1));
    assert_eq!(system.database.column::<Vec<u8>>(order_id, "claim_token").await, [b'x'; 16]);
    system.end_uncounted();
}
