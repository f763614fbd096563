//! Orders on their way through a worker.

use chrono::DateTime;
use orders_tests::{Api, Worker, database, eventually};
use serde_json::Value;
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_placed_order_is_claimed_and_completed() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let order_id = api.place(&sample::order()).await;
    let worker = Worker::start(&database.url, &[("SIMULATED_PROCESSING_MS", "10")]).await;

    let order = sample::wait_for_status(&api, order_id, "COMPLETED").await;

    let time = |name: &str| DateTime::parse_from_rfc3339(order[name].as_str().unwrap()).unwrap();
    assert_eq!(order["attempt"], 1);
    assert_eq!(order["available_at"], Value::Null);
    assert!(time("created_at") <= time("claimed_at"), "{order}");
    assert!(time("claimed_at") < time("completed_at"), "{order}");
    assert_eq!(time("updated_at"), time("completed_at"), "{order}");
    assert_eq!(database.state(order_id).await, ("COMPLETED".to_owned(), 1));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_work_shows_as_processing() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let _worker = Worker::start(&database.url, &[("SIMULATED_PROCESSING_MS", "60000")]).await;

    let order_id = api.place(&sample::order()).await;

    let order = sample::wait_for_status(&api, order_id, "PROCESSING").await;
    assert_eq!(order["attempt"], 1);
    assert!(order["claimed_at"].is_string(), "{order}");
    assert_eq!(order["completed_at"], Value::Null);
    let list = api.get("/order/status/processing").await.json();
    assert_eq!(list[0]["order_id"], order_id.to_string());
}

/// A rescue, and a list of orders in work, read every row of that table.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_leaves_its_table_when_its_orders_have_ended_however_they_did() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let env =
        [("SIMULATED_FAULTS", "fail=0.3,reject=0.3"), ("WORKER_RETRY_BASE_MS", "1"), ("WORKER_MAX_ATTEMPTS", "2")];
    let worker = Worker::start(&database.url, &env).await;

    for _ in 0..40 {
        let order_id = api.place(&sample::order()).await;
        eventually("it has ended", sample::SOON, || async {
            matches!(database.state(order_id).await.0.as_str(), "COMPLETED" | "FAILED").then_some(())
        })
        .await;
    }

    let claims = "select count(*) from claims";
    let left: i64 = sqlx::query_scalar(claims).fetch_one(&database.pool).await.unwrap();
    // A claim deletes the rows of those that ended before it.
    assert!((1..=3).contains(&left), "{left} of 40 and more");
    assert_eq!(worker.terminate().await.code(), Some(0));
    let _next = Worker::start(&database.url, &[("WORKER_DEAD_AFTER_SECS", "1")]).await;
    eventually("those of a worker that is gone are taken away", sample::SOON, || async {
        let left: i64 = sqlx::query_scalar(claims).fetch_one(&database.pool).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_claims_no_more_than_it_has_slots() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    for _ in 0..5 {
        api.place(&sample::order()).await;
    }
    let env = [("SIMULATED_PROCESSING_MS", "60000"), ("WORKER_CONCURRENCY", "2"), ("SHUTDOWN_GRACE_SECS", "1")];
    let worker = Worker::start(&database.url, &env).await;
    eventually("both slots are taken", sample::SOON, || async {
        (database.orders_in("PROCESSING").await == 2).then_some(())
    })
    .await;

    let status = worker.terminate().await;

    assert_eq!(status.code(), Some(0));
    let claimed: i64 = sqlx::query_scalar("select count(*) from orders where claimed_at < '9999-12-31' or attempt > 0")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(claimed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_worker_finish_what_it_can_within_the_grace_period() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let env = [("SIMULATED_PROCESSING_MS", "500"), ("SHUTDOWN_GRACE_SECS", "20")];
    let worker = Worker::start(&database.url, &env).await;
    let order_id = api.place(&sample::order()).await;
    sample::wait_until_stored_as(&database, order_id, "PROCESSING").await;

    let status = worker.terminate().await;

    assert_eq!(status.code(), Some(0));
    assert_eq!(database.state(order_id).await, ("COMPLETED".to_owned(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_releases_what_a_worker_cannot_finish() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let env = [("SIMULATED_PROCESSING_MS", "60000"), ("SHUTDOWN_GRACE_SECS", "1")];
    let worker = Worker::start(&database.url, &env).await;
    let order_id = api.place(&sample::order()).await;
    sample::wait_until_stored_as(&database, order_id, "PROCESSING").await;

    let status = worker.terminate().await;

    assert_eq!(status.code(), Some(0));
    assert_eq!(database.state(order_id).await, ("PENDING".to_owned(), 0), "a release takes no attempt away");
    let _next = Worker::start(&database.url, &[("SIMULATED_PROCESSING_MS", "0")]).await;
    sample::wait_until_stored_as(&database, order_id, "COMPLETED").await;
    assert_eq!(database.state(order_id).await, ("COMPLETED".to_owned(), 1));
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

/// Gives the order to another claim while the worker is at it; at its end the worker has changed nothing.
async fn assert_cannot_end(env: &[(&str, &str)]) {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, env).await;
    let order_id = api.place(&sample::order()).await;
    sample::wait_until_stored_as(&database, order_id, "PROCESSING").await;
    let token = Uuid::now_v7();
    let moved = sqlx::query("update orders set claim_token = ? where order_id = ? and status = 'PROCESSING'")
        .bind(token)
        .bind(order_id)
        .execute(&database.pool)
        .await
        .unwrap();
    assert_eq!(moved.rows_affected(), 1);

    // It ends only when its outcome is settled.
    let status = worker.terminate().await;

    assert_eq!(status.code(), Some(0));
    assert_eq!(database.state(order_id).await, ("PROCESSING".to_owned(), 1));
    let holder: Uuid = sqlx::query_scalar("select claim_token from orders where order_id = ?")
        .bind(order_id)
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(holder, token);
}
