//! One order that the database refuses, and its neighbours, which it must not harm.

use futures_util::future::join_all;
use orders_tests::{Api, Database, Worker, database, eventually};
use sqlx::{AssertSqlSafe, MySqlConnection};
use uuid::Uuid;

use crate::sample;

const DEAD_AFTER: (&str, &str) = ("WORKER_DEAD_AFTER_SECS", "1");

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_the_database_refuses_does_not_fail_those_placed_with_it() {
    let database = database().await;
    refuse(&database, "insert", "new.user_id = 13").await;
    let api = Api::start(&database.url, &[]).await;

    let replies = join_all((1..=60).map(|user_id| {
        let (api, order) = (&api, sample::order_of(user_id).to_string());
        async move { api.post("/order/create-order", &order).await.status }
    }))
    .await;

    let refused: Vec<_> = replies.iter().enumerate().filter(|(_, status)| **status != 201).collect();
    assert_eq!(refused, [(12, &500)]);
    assert_eq!(database.orders().await, 59);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_count_the_database_refuses_is_not_placed_and_leaves_nothing_open() {
    let database = database().await;
    refuse_in(&database, "order_counts", "insert", "true").await;
    let api = Api::start(&database.url, &[]).await;

    let refused = api.post("/order/create-order", &sample::order().to_string()).await;
    accept(&database).await;
    let placed = api.place(&sample::order()).await;

    assert_eq!(refused.status, 500, "{refused:?}");
    assert_eq!(database.orders().await, 1);
    assert_eq!(database.state(placed).await, ("PENDING".to_owned(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_whose_claim_the_database_refuses_are_not_taken_for_claimed() {
    let database = database().await;
    refuse(&database, "update", "new.status = 'PROCESSING'").await;
    let api = Api::start(&database.url, &[]).await;
    place_twenty(&api).await;
    let worker = Worker::start(&database.url, &[]).await;

    eventually("a claim is refused", sample::SOON, || async {
        worker.logs().contains("claim failed; trying again").then_some(())
    })
    .await;
    accept(&database).await;
    eventually("all are completed", sample::SOON, || async {
        (database.orders_in("COMPLETED").await == 20).then_some(())
    })
    .await;

    assert!(worker.counter("orders_stale_outcomes_total").await < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_the_database_refuses_is_told_and_holds_nobody_up() {
    let database = database().await;
    refuse(&database, "update", "new.user_id = 13 and new.status = 'COMPLETED'").await;
    let api = Api::start(&database.url, &[]).await;
    let bad = place_twenty(&api).await;
    let worker = Worker::start_unready(&database.url, &[]).await;

    let unready = worker.wait_for_readiness(503).await;

    assert!(unready.text.contains("refused by the test"), "{unready:?}");
    eventually("its neighbours are completed", sample::SOON, || async {
        (database.orders_in("COMPLETED").await == 19).then_some(())
    })
    .await;
    assert_eq!(database.state(bad).await, ("PROCESSING".to_owned(), 1));
    accept(&database).await;
    sample::wait_until_stored_as(&database, bad, "COMPLETED").await;
    worker.wait_until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_rescued_does_not_keep_its_batch_from_it() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    place_twenty(&api).await;
    let worker = Worker::start(&database.url, &[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "60000")]).await;
    wait_until_all_are_claimed(&database).await;
    refuse(&database, "update", "new.user_id = 13 and new.status = 'PENDING'").await;
    worker.kill();

    let _rescuer = Worker::start(&database.url, &[DEAD_AFTER]).await;

    eventually("its neighbours are completed", sample::SOON, || async {
        (database.orders_in("COMPLETED").await == 19).then_some(())
    })
    .await;
    accept(&database).await;
    eventually("it is rescued as soon as it can be", sample::SOON, || async {
        (database.orders_in("COMPLETED").await == 20).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_somebody_keeps_locked_does_not_hold_its_neighbours_up() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let locked = place_twenty(&api).await;
    let _worker = Worker::start(&database.url, &[("SIMULATED_PROCESSING_MS", "1000")]).await;
    wait_until_all_are_claimed(&database).await;

    let mut holder = database.pool.begin().await.unwrap();
    lock(&mut holder, locked).await;

    eventually("its neighbours are completed", sample::SOON, || async {
        (database.orders_in("COMPLETED").await == 19).then_some(())
    })
    .await;
    holder.rollback().await.unwrap();
    sample::wait_until_stored_as(&database, locked, "COMPLETED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_somebody_keeps_locked_does_not_keep_its_neighbours_from_rescue() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let locked = place_twenty(&api).await;
    let worker = Worker::start(&database.url, &[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "60000")]).await;
    wait_until_all_are_claimed(&database).await;
    worker.kill();

    let mut holder = database.pool.begin().await.unwrap();
    lock(&mut holder, locked).await;
    let _rescuer = Worker::start(&database.url, &[DEAD_AFTER]).await;

    eventually("its neighbours are rescued and completed", sample::SOON, || async {
        (database.orders_in("COMPLETED").await == 19).then_some(())
    })
    .await;
    holder.rollback().await.unwrap();
    sample::wait_until_stored_as(&database, locked, "COMPLETED").await;
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

async fn wait_until_all_are_claimed(database: &Database) {
    eventually("all are claimed", sample::SOON, || async {
        (database.orders_in("PROCESSING").await == 20).then_some(())
    })
    .await;
}

async fn lock(holder: &mut MySqlConnection, order_id: Uuid) {
    let locked: Vec<(i32,)> = sqlx::query_as("select 1 from orders where order_id = ? for update")
        .bind(order_id)
        .fetch_all(holder)
        .await
        .unwrap();
    assert_eq!(locked.len(), 1);
}

/// From now on the database refuses what `condition` tells of a changed order.
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
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database.pool).await.unwrap();
}

async fn accept(database: &Database) {
    sqlx::raw_sql("drop trigger refusal").execute(&database.pool).await.unwrap();
}
