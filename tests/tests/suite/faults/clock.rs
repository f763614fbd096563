//! A worker whose machine has the wrong time.

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use orders_tests::{Api, Database, History, SOON, System, Worker, eventually, wait_until};
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::sample;

const DEAD_AFTER: (&str, &str) = ("WORKER_DEAD_AFTER_SECS", "1");

/// The promise: a rescue takes at most five seconds longer than the setting.
const RESCUED_WITHIN: Duration = Duration::from_secs(1 + 5);

/// Scheduled so far ahead by the database's clock: long enough for many polls.
const AHEAD: TimeDelta = TimeDelta::seconds(4);

/// A time that is further from now is not the database's: half of what the worker's clock is off by.
const FAR: TimeDelta = TimeDelta::minutes(5);

/// All columns that hold a time, but for one that a client chooses.
const TIMES: [(&str, &[&str]); 3] = [
    ("orders", &["created_at", "updated_at", "available_at", "claimed_at", "completed_at"]),
    ("order_events", &["at", "claimed_at", "available_at"]),
    ("workers", &["started_at", "heartbeat_at", "expires_at"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_clock_is_ten_minutes_ahead_keeps_to_that_of_the_database() {
    assert_a_worker_keeps_to_the_databases_clock("+10m", TimeDelta::minutes(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_clock_is_ten_minutes_behind_keeps_to_that_of_the_database() {
    assert_a_worker_keeps_to_the_databases_clock("-10m", TimeDelta::minutes(-10)).await;
}

async fn assert_a_worker_keeps_to_the_databases_clock(faketime: &str, off_by: TimeDelta) {
    let system = System::start().await;
    History::record(&system.database.pool).await;
    let peer = [DEAD_AFTER, ("WORKER_CONCURRENCY", "1"), ("SIMULATED_PROCESSING_MS", "600000")];
    let peer = system.start_worker(&peer).await;
    let held = system.place(&sample::order()).await;
    system.database.wait_for_status(held, "PROCESSING").await;
    let library = library();
    let astray = [
        DEAD_AFTER,
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME", faketime),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("WORKER_MAX_ATTEMPTS", "2"),
        ("WORKER_RETRY_BASE_MS", "100"),
        ("SIMULATED_FAULTS", "fail=user:13"),
    ];
    let astray = system.start_worker(&astray).await;
    let is_off_by = clock_of(&astray).await - Utc::now();
    assert!((is_off_by - off_by).abs() < TimeDelta::minutes(1), "libfaketime did nothing: {is_off_by}");

    let mut placed = vec![held, system.place(&sample::order_of(13)).await];
    placed.extend(place_scheduled(&system.database, &system).await);
    wait_until("all but the peer's order have reached an end", async || {
        system.database.orders_in("COMPLETED").await == 3 && system.database.orders_in("FAILED").await == 1
    })
    .await;
    assert_none_was_claimed_early(&system.database).await;
    wait_until_both_outlive_many_deadlines(&system.database).await;
    assert_times_are_the_databases(&system.database).await;
    assert_eq!(system.database.state(held).await, ("PROCESSING".to_owned(), 1), "its worker lives");

    peer.kill();
    let killed = Instant::now();
    system.database.wait_for_status(held, "COMPLETED").await;

    assert!(killed.elapsed() < RESCUED_WITHIN, "{:?}", killed.elapsed());
    assert_eq!(system.story(held).await, ["placed", "claimed", "rescued", "claimed", "completed"]);
    assert_times_are_the_databases(&system.database).await;
    assert!(astray.counter("orders_worker_deaths_total").await < 0.5);
    let summary = History::assert_is_sound(&system.database.pool, &placed, 0).await;
    assert_eq!((summary.retried, summary.rescued), (1, 1), "{summary:?}");
    // If it were killed, libfaketime's shared memory would stay behind.
    assert_eq!(astray.terminate().await.code(), Some(0));
    system.end().await;
}

/// The library that gives a program another time.
fn library() -> String {
    let library = xtask::faketime::library().expect("the package libfaketime is installed");
    library.into_os_string().into_string().unwrap()
}

/// The time that a program wrote on its last line.
async fn clock_of(program: &Worker) -> DateTime<Utc> {
    eventually("the worker logs the time", SOON, || async {
        let logs = program.logs();
        logs.lines().rev().find_map(|line| line.split_whitespace().next()?.parse().ok())
    })
    .await
}

async fn place_scheduled(database: &Database, api: &Api) -> Vec<Uuid> {
    let now: NaiveDateTime = database.scalar("select now(6)").await;
    let mut placed = Vec::new();
    for user_id in 1..=3 {
        let mut order = sample::order_of(user_id);
        order["process_after"] = json!((now + AHEAD).and_utc().to_rfc3339());
        placed.push(api.place(&order).await);
    }
    placed
}

async fn assert_none_was_claimed_early(database: &Database) {
    let claims: Vec<(NaiveDateTime, NaiveDateTime)> =
        sqlx::query_as("select process_after, claimed_at from orders where process_after is not null")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    assert_eq!(claims.len(), 3);
    for (process_after, claimed_at) in claims {
        assert!(claimed_at >= process_after, "scheduled for {process_after}, claimed at {claimed_at}");
    }
}

/// Waits until both workers have lived, as they entered themselves at their start, for many times the time that a dead
/// one has.
async fn wait_until_both_outlive_many_deadlines(database: &Database) {
    let old = "select count(*) from workers where heartbeat_at > started_at + interval 5 second";
    wait_until("both workers live on", async || database.scalar::<i64>(old).await == 2).await;
}

async fn assert_times_are_the_databases(database: &Database) {
    for (table, columns) in TIMES {
        for column in columns {
            let sql = format!("select {column}, now(6) from {table} where {column} < '9999-12-31'");
            let times: Vec<(NaiveDateTime, NaiveDateTime)> =
                sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&database.pool).await.unwrap();
            for (time, now) in times {
                assert!((time - now).abs() < FAR, "{table}.{column} is {time} at {now}");
            }
        }
    }
}
