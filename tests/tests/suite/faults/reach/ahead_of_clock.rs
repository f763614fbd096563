//! Rows with times in the future, as after the database's clock went back. Here the rows are moved; in `server_clock`
//! the clock is, where the machine can do that.

use std::time::Duration;

use orders_tests::{Database, System, eventually};
use serde_json::json;
use uuid::Uuid;

use super::doctor;
use crate::sample;

const DEAD_AFTER: (&str, &str) = ("WORKER_DEAD_AFTER_SECS", "2");

/// Soon, although ten minutes are missing.
const PROCESSED_WITHIN: Duration = Duration::from_secs(30);

/// As if everything had been written ten minutes later.
const MOVE_ORDERS: &str = "
    update orders
    set created_at = created_at + interval 600 second,
        updated_at = updated_at + interval 600 second,
        available_at = if(year(available_at) = 9999, available_at, available_at + interval 600 second)
";
const MOVE_WORKERS: &str = "
    update workers
    set heartbeat_at = heartbeat_at + interval 600 second, expires_at = expires_at + interval 600 second
";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_due_before_the_clock_went_back_is_processed_and_the_dead_are_rescued() {
    let system = System::start().await;
    let dead = system.start_worker(&[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "600000")]).await;
    let held = system.place(&sample::order()).await;
    system.database.wait_for_status(held, "PROCESSING").await;
    dead.kill();
    assert_eq!(system.post("/queue/pause", "").await.status, 200);
    let waiting = [system.place(&sample::order()).await, system.place(&sample::order()).await];
    let mut later = sample::order();
    later["process_after"] = json!("2100-01-01T00:00:00Z");
    let scheduled = system.place(&later).await;

    for sql in [MOVE_ORDERS, MOVE_WORKERS] {
        system.database.execute(sql).await;
    }

    let why = system.get(&format!("/orders/{}/why", waiting[0])).await.json();
    assert_eq!(why["code"], "clock_went_back", "{why}");
    let (_, text) = doctor(&system.database.url).await;
    assert!(text.lines().any(|line| line.starts_with("WARN  clock: ")), "{text}");
    assert!(system.api.counter("orders_database_clock_behind_seconds").await > 500.0);
    system.start_worker(&[DEAD_AFTER]).await;
    assert_eq!(system.post("/queue/resume", "").await.status, 200);
    for order_id in [waiting[0], waiting[1], held] {
        wait_until_completed(&system.database, order_id).await;
    }
    assert_eq!(system.database.state(scheduled).await, ("PENDING".to_owned(), 0), "it is not due yet");
    assert_eq!(system.database.column::<u8>(held, "rescues").await, 1);
    system.end().await;
}

async fn wait_until_completed(database: &Database, order_id: Uuid) {
    eventually(&format!("{order_id} is completed"), PROCESSED_WITHIN, || async {
        (database.state(order_id).await.0 == "COMPLETED").then_some(())
    })
    .await;
}
