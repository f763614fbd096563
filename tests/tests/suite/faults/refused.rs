//! One order that the database refuses, and its neighbours, which it must not harm.

use futures_util::future::join_all;
use orders_tests::{Api, Database, System, Worker, wait_until};
use sqlx::MySqlConnection;
use uuid::Uuid;

use crate::sample;

const DEAD_AFTER: (&str, &str) = ("WORKER_DEAD_AFTER_SECS", "1");

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_the_database_refuses_does_not_fail_those_placed_with_it() {
    let system = System::start().await;
    refuse(&system.database, "insert", "new.user_id = 13").await;

    let replies = join_all((1..=60).map(|user_id| {
        let (system, order) = (&system, sample::order_of(user_id).to_string());
        async move { system.post("/order/create-order", &order).await.status }
    }))
    .await;

    let refused: Vec<_> = replies.iter().enumerate().filter(|(_, status)| **status != 201).collect();
    assert_eq!(refused, [(12, &500)]);
    assert_eq!(system.database.orders().await, 59);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_count_the_database_refuses_is_not_placed_and_leaves_nothing_open() {
    let system = System::start().await;
    refuse_in(&system.database, "order_counts", "insert", "true").await;

    let refused = system.post("/order/create-order", &sample::order().to_string()).await;
    accept(&system.database).await;
    let placed = system.place(&sample::order()).await;

    assert_eq!(refused.status, 500, "{refused:?}");
    assert_eq!(system.database.orders().await, 1);
    assert_eq!(system.database.state(placed).await, ("PENDING".to_owned(), 0));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_whose_claim_the_database_refuses_are_not_taken_for_claimed() {
    let system = System::start().await;
    refuse(&system.database, "update", "new.status = 'PROCESSING'").await;
    place_twenty(&system).await;
    let worker = system.start_worker(&[]).await;

    wait_until("a claim is refused", async || worker.logs().contains("claim failed; trying again")).await;
    accept(&system.database).await;
    system.database.wait_for_orders_in("COMPLETED", 20).await;

    assert!(worker.counter("orders_stale_outcomes_total").await < 0.5);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_the_database_refuses_is_told_and_holds_nobody_up() {
    let system = System::start().await;
    refuse(&system.database, "update", "new.user_id = 13 and new.status = 'COMPLETED'").await;
    let bad = place_twenty(&system).await;
    let worker = Worker::start_unready(&system.database.url, &[]).await;

    let unready = worker.wait_for_readiness(503).await;

    assert!(unready.text.contains("refused by the test"), "{unready:?}");
    system.database.wait_for_orders_in("COMPLETED", 19).await;
    assert_eq!(system.database.state(bad).await, ("PROCESSING".to_owned(), 1));
    accept(&system.database).await;
    system.database.wait_for_status(bad, "COMPLETED").await;
    worker.wait_until_ready().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_rescued_does_not_keep_its_batch_from_it() {
    let system = System::start().await;
    place_twenty(&system).await;
    let worker = system.start_worker(&[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "60000")]).await;
    system.database.wait_for_orders_in("PROCESSING", 20).await;
    refuse(&system.database, "update", "new.user_id = 13 and new.status = 'PENDING'").await;
    worker.kill();

    system.start_worker(&[DEAD_AFTER]).await;

    system.database.wait_for_orders_in("COMPLETED", 19).await;
    accept(&system.database).await;
    system.database.wait_for_orders_in("COMPLETED", 20).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_somebody_keeps_locked_does_not_hold_its_neighbours_up() {
    let system = System::start().await;
    let locked = place_twenty(&system).await;
    system.start_worker(&[("SIMULATED_PROCESSING_MS", "1000")]).await;
    system.database.wait_for_orders_in("PROCESSING", 20).await;

    let mut holder = system.database.pool.begin().await.unwrap();
    lock(&mut holder, locked).await;

    system.database.wait_for_orders_in("COMPLETED", 19).await;
    holder.rollback().await.unwrap();
    system.database.wait_for_status(locked, "COMPLETED").await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_somebody_keeps_locked_does_not_keep_its_neighbours_from_rescue() {
    let system = System::start().await;
    let locked = place_twenty(&system).await;
    let worker = system.start_worker(&[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "60000")]).await;
    system.database.wait_for_orders_in("PROCESSING", 20).await;
    worker.kill();

    let mut holder = system.database.pool.begin().await.unwrap();
    lock(&mut holder, locked).await;
    system.start_worker(&[DEAD_AFTER]).await;

    system.database.wait_for_orders_in("COMPLETED", 19).await;
    holder.rollback().await.unwrap();
    system.database.wait_for_status(locked, "COMPLETED").await;
    system.end().await;
}

/// Places 20 orders, user by user, and returns that of user 13.
async fn place_twenty(api: &Api) -> Uuid {
    let mut one = None;
    for user_id in 1..=20 {
        let order_id = api.place(&sample::order_of(user_id)).await;
        one = one.or((user_id == 13).then_some(order_id));
    }
    one.unwrap()
}

async fn lock(holder: &mut MySqlConnection, order_id: Uuid) {
    let locked: Vec<(i32,)> = sqlx::query_as("select 1 from orders where order_id = ? for update")
        .bind(order_id)
        .fetch_all(holder)
        .await
        .unwrap();
    assert_eq!(locked.len(), 1);
}

/// From now on the database refuses changes of orders for which `condition` is true.
async fn refuse(database: &Database, change: &str, condition: &str) {
    refuse_in(database, "orders", change, condition).await;
}

async fn refuse_in(database: &Database, table: &str, change: &str, condition: &str) {
    let sql = format!(
        "create trigger refusal before {change} on {table} for each row
         if {condition} then
             signal sqlstate '45000' set message_text = 'refused by the test';
         end if"
    );
    database.execute(&sql).await;
}

async fn accept(database: &Database) {
    database.execute("drop trigger refusal").await;
}
