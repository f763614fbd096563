//! A database whose clock is set while the programs are at work.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use orders_tests::{OwnServer, System, eventually};
use serde_json::json;
use uuid::Uuid;

use super::doctor;
use crate::sample;

const DEAD_AFTER: (&str, &str) = ("WORKER_DEAD_AFTER_SECS", "3");

/// How far the clock is set: as when a machine is restored from an older copy.
const STEP: i64 = 600;

/// Soon, although ten minutes seem to be missing.
const PROCESSED_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn after_the_databases_clock_went_back_nothing_waits_for_it_to_come_round_again() {
    let system = System::on(OwnServer::start_with_movable_clock(&[]).await, &[]).await;
    let dead = system.start_worker(&[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "600000")]).await;
    let held = system.place(&sample::order()).await;
    system.database.wait_for_status(held, "PROCESSING").await;
    dead.kill();
    assert_eq!(system.post("/queue/pause", "").await.status, 200);
    let waiting = [system.place(&sample::order()).await, system.place(&sample::order()).await];
    let scheduled = system.place(&due_in(TimeDelta::hours(1))).await;

    system.database.move_clock(-STEP).await;

    let why = system.get(&format!("/orders/{}/why", waiting[0])).await;
    assert_eq!(why.status, 200, "{why:?}");
    assert!(why.text.contains("clock"), "{why:?}");
    let (code, text) = doctor(&system.database.url).await;
    let line = text.lines().find(|line| line.get(6..).is_some_and(|rest| rest.starts_with("clock: ")));
    assert!(line.is_some_and(|line| line.starts_with("WARN")), "{code:?}: {text}");

    let worker = system.start_worker(&[DEAD_AFTER]).await;
    assert_eq!(system.post("/queue/resume", "").await.status, 200);
    let new = system.place(&sample::order()).await;
    for order_id in [waiting[0], waiting[1], new, held] {
        wait_until_completed(&system.database, order_id).await;
    }
    assert_eq!(system.database.state(scheduled).await, ("PENDING".to_owned(), 0), "it is not due yet");
    assert_eq!(rescues(&system.database, held).await, 1);
    worker.wait_until_ready().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_run_while_the_databases_clock_goes_back_go_on() {
    let system = System::on(OwnServer::start_with_movable_clock(&[]).await, &[]).await;
    // With one slot, so that it cannot claim the second order too.
    let env = [DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "600000"), ("WORKER_CONCURRENCY", "1")];
    let dies = system.start_worker(&env).await;
    let held = system.place(&sample::order()).await;
    system.database.wait_for_status(held, "PROCESSING").await;
    let lives = system.start_worker(&[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "6000")]).await;
    let in_work = system.place(&sample::order()).await;
    system.database.wait_for_status(in_work, "PROCESSING").await;

    system.database.move_clock(-STEP).await;
    let new = system.place(&sample::order()).await;
    dies.kill();

    for order_id in [in_work, new, held] {
        wait_until_completed(&system.database, order_id).await;
    }
    assert_eq!((rescues(&system.database, in_work).await, rescues(&system.database, held).await), (0, 1));
    lives.wait_until_ready().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_databases_clock_went_forward_nobody_alive_is_taken_for_dead() {
    let system = System::on(OwnServer::start_with_movable_clock(&[]).await, &[]).await;
    let env = [DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "6000"), ("WORKER_CONCURRENCY", "2")];
    let workers = [system.start_worker(&env).await, system.start_worker(&env).await];
    let mut orders = Vec::new();
    for _ in 0..4 {
        orders.push(system.place(&sample::order()).await);
    }
    for order_id in &orders {
        system.database.wait_for_status(*order_id, "PROCESSING").await;
    }

    system.database.move_clock(STEP).await;
    orders.push(system.place(&sample::order()).await);

    for order_id in orders {
        wait_until_completed(&system.database, order_id).await;
        assert_eq!(rescues(&system.database, order_id).await, 0);
    }
    for worker in &workers {
        assert!(worker.counter("orders_worker_deaths_total").await < 0.5, "a living worker was taken for dead");
        worker.wait_until_ready().await;
    }
    system.end().await;
}

fn due_in(time: TimeDelta) -> serde_json::Value {
    let mut order = sample::order();
    order["process_after"] = json!((Utc::now() + time).to_rfc3339());
    order
}

async fn wait_until_completed(server: &OwnServer, order_id: Uuid) {
    eventually(&format!("{order_id} is completed"), PROCESSED_WITHIN, || async {
        (server.state(order_id).await.0 == "COMPLETED").then_some(())
    })
    .await;
}

async fn rescues(server: &OwnServer, order_id: Uuid) -> u8 {
    server.column(order_id, "rescues").await
}
