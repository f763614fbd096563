//! Many orders, many connections, several workers.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::NaiveDateTime;
use futures_util::future::{join, join_all};
use orders_tests::{Api, Database, System, eventually};
use uuid::Uuid;

use crate::sample;

const ORDERS: i64 = 10_000;
const CONNECTIONS: usize = 64;
const WORKERS: usize = 3;
const SLOTS: usize = 16;

/// Half a minute on a quiet machine with unoptimised programs.
const COMPLETED_WITHIN: Duration = Duration::from_mins(5);

/// How many younger orders may overtake one: as many as can be under way at once (in connections and slots), times
/// five, since a loaded machine may hold up one transaction while others go on.
const OVERTAKEN_MAX: usize = 5 * (CONNECTIONS + WORKERS * SLOTS);

/// How many orders were sent and how many were accepted so far.
#[derive(Default)]
struct Progress {
    sent: AtomicI64,
    answered: AtomicI64,
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_orders_are_each_processed_once_by_three_workers_in_order_of_age() {
    let system = System::start().await;
    let slots = SLOTS.to_string();
    let env = [("SIMULATED_PROCESSING_MS", "5"), ("WORKER_CONCURRENCY", slots.as_str())];
    let workers = join_all((0..WORKERS).map(|_| system.start_worker(&env))).await;
    let progress = Progress::default();

    let placing = join_all((0..CONNECTIONS).map(|_| place_orders(&system, &progress)));
    join(placing, wait_until_the_report_is_complete(&system, &progress)).await;

    assert_eq!(system.database.orders().await, ORDERS);
    assert_eq!(system.database.orders_in("COMPLETED").await, ORDERS);
    assert_eq!(attempts(&system.database).await, (1, 1), "no order was claimed twice");
    let completed = join_all(workers.iter().map(|worker| worker.counter("orders_completed_total"))).await;
    let total: f64 = completed.iter().sum();
    assert!((total - 10_000.0).abs() < 0.5, "{completed:?}");
    assert!(completed.iter().all(|count| *count > 0.0), "each worker took part: {completed:?}");
    let overtaken = most_overtaken(&system.database).await;
    assert!(overtaken <= OVERTAKEN_MAX, "an order was overtaken by {overtaken} younger ones");
    system.end().await;
}

/// One connection's share: places orders until all are sent.
async fn place_orders(api: &Api, progress: &Progress) {
    while progress.sent.fetch_add(1, Ordering::SeqCst) < ORDERS {
        api.place(&sample::order()).await;
        progress.answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// Asks for the report until all orders are completed; it must add up at every moment.
async fn wait_until_the_report_is_complete(api: &Api, progress: &Progress) {
    eventually("all orders are completed", COMPLETED_WITHIN, || async {
        let answered = progress.answered.load(Ordering::SeqCst);
        let report = api.get("/metrics").await.json();
        let sent = progress.sent.load(Ordering::SeqCst).min(ORDERS);

        let count = |key: &str| report["data"][key].as_i64().unwrap_or_else(|| panic!("{report}"));
        let completed = count("Completed orders:");
        let all = count("Pending orders:") + count("Processing orders:") + completed;
        assert!((answered..=sent).contains(&all), "{answered} answered, {sent} sent: {report}");
        assert_eq!(count("Total orders processed"), completed);
        (completed == ORDERS).then_some(())
    })
    .await;
}

/// The fewest and the most attempts of any order.
async fn attempts(database: &Database) -> (u16, u16) {
    sqlx::query_as("select min(attempt), max(attempt) from orders").fetch_one(&database.pool).await.unwrap()
}

/// The largest number of younger orders that were claimed before an older one.
async fn most_overtaken(database: &Database) -> usize {
    let orders: Vec<(Uuid, NaiveDateTime, NaiveDateTime)> =
        sqlx::query_as("select order_id, created_at, claimed_at from orders order by created_at, order_id")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    let claimed: Vec<NaiveDateTime> = orders.iter().map(|(_, _, claimed_at)| *claimed_at).collect();
    let overtaken = |age: usize| claimed[age..].iter().filter(|younger| **younger < claimed[age]).count();
    (0..claimed.len()).map(overtaken).max().unwrap_or_default()
}
