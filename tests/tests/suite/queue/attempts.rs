//! Attempts that fail, and what follows.

use chrono::{DateTime, TimeDelta, Utc};
use orders_tests::{System, wait_until};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_out_of_attempts_is_failed_with_its_whole_story() {
    let system = System::start().await;
    let env = [("SIMULATED_FAULTS", "fail=1"), ("WORKER_MAX_ATTEMPTS", "3"), ("WORKER_RETRY_BASE_MS", "20")];
    let worker = system.start_worker(&env).await;

    let order_id = system.place(&sample::order()).await;

    let order = system.wait_for_status(order_id, "FAILED").await;
    assert_eq!(order["attempt"], 3);
    assert_eq!(order["rescues"], 0);
    assert_eq!(order["last_error"], "simulated error");
    assert_eq!(order["available_at"], Value::Null);
    assert_eq!(order["completed_at"], Value::Null);
    let events = system.events(order_id).await;
    let told = ["placed", "claimed", "attempt_failed", "claimed", "attempt_failed", "claimed", "failed"];
    assert_eq!(system.story(order_id).await, told);
    for (index, attempt) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)] {
        assert_eq!(events[index]["attempt"], attempt, "{events:?}");
        assert_eq!(events[index]["worker_id"], order["worker_id"]);
    }
    for ended in [&events[2], &events[4], &events[6]] {
        assert_eq!(ended["error"], "simulated error");
        assert!(ended["duration_ms"].as_f64().is_some_and(|ms| ms >= 0.0), "{ended}");
    }
    assert!((worker.counter("orders_retried_total").await - 2.0).abs() < 0.1);
    assert!((worker.counter("orders_failed_total").await - 1.0).abs() < 0.1);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pause_after_each_failed_attempt_is_twice_as_long() {
    let system = System::start().await;
    let env = [("SIMULATED_FAULTS", "fail=1"), ("WORKER_MAX_ATTEMPTS", "4"), ("WORKER_RETRY_BASE_MS", "200")];
    system.start_worker(&env).await;

    let order_id = system.place(&sample::order()).await;

    system.wait_for_status(order_id, "FAILED").await;
    let events = system.events(order_id).await;
    let time = |event: &Value, name: &str| event[name].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    for (index, base_ms) in [(2, 200), (4, 400), (6, 800)] {
        let pause = time(&events[index], "available_at") - time(&events[index], "at");
        let waited = time(&events[index + 1], "at") - time(&events[index], "at");
        // Jitter shortens a pause by up to a half.
        assert!(pause >= TimeDelta::milliseconds(base_ms / 2), "{pause}: {events:?}");
        assert!(pause <= TimeDelta::milliseconds(base_ms), "{pause}: {events:?}");
        assert!(waited >= pause, "claimed {waited} after it failed, too early: {events:?}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waits_for_its_next_attempt_says_when_and_why() {
    let system = System::start().await;
    let env = [("SIMULATED_FAULTS", "fail=1"), ("WORKER_RETRY_BASE_MS", "600000")];
    system.start_worker(&env).await;
    let order_id = system.place(&sample::order()).await;
    wait_until("the first attempt has failed", async || {
        system.database.state(order_id).await == ("PENDING".to_owned(), 1)
    })
    .await;

    let order = system.order(order_id).await;
    let why = system.why(order_id).await;

    assert_eq!((&order["attempt"], &order["last_error"]), (&json!(1), &json!("simulated error")));
    let available_at: DateTime<Utc> = order["available_at"].as_str().unwrap().parse().unwrap();
    assert!(available_at > Utc::now() + TimeDelta::minutes(4), "{order}");
    assert_eq!(why["code"], "waits_for_retry", "{why}");
    assert_eq!(why["available_at"], order["available_at"]);
    assert_eq!(why["last_error"], "simulated error");
    let reason = why["reason"].as_str().unwrap();
    assert!(reason.contains("1 attempt") && reason.contains("simulated error"), "{reason}");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_error_fails_the_order_at_once() {
    assert_fails_by("reject=1", "simulated permanent error", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_failed_attempt_and_the_worker_goes_on() {
    assert_fails_by("panic=1", "panic: simulated panic", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_never_ends_is_a_failed_one() {
    assert_fails_by("hang=1", "timed out after 100 ms", 2).await;
}

/// The order of user 13 fails with this error, and the orders of other users are completed.
async fn assert_fails_by(fault: &str, error: &str, attempts: u16) {
    let system = System::start().await;
    let fault = fault.replace("=1", "=user:13");
    let env = [
        ("SIMULATED_FAULTS", fault.as_str()),
        ("WORKER_MAX_ATTEMPTS", "2"),
        ("WORKER_RETRY_BASE_MS", "1"),
        ("PROCESSING_TIMEOUT_MS", "100"),
    ];
    system.start_worker(&env).await;
    let bad = system.place(&sample::order_of(13)).await;
    let good: Vec<Uuid> = vec![system.place(&sample::order()).await, system.place(&sample::order()).await];

    let order = system.wait_for_status(bad, "FAILED").await;

    assert_eq!(order["last_error"], error);
    assert_eq!(order["attempt"], attempts);
    for order_id in good {
        let order = system.wait_for_status(order_id, "COMPLETED").await;
        assert_eq!(order["attempt"], 1);
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_happy_path_writes_no_event_and_still_tells_its_story() {
    let system = System::start().await;
    system.start_worker(&[]).await;

    let order_id = system.place(&sample::order()).await;

    let order = system.wait_for_status(order_id, "COMPLETED").await;
    let events = system.events(order_id).await;
    assert_eq!(system.story(order_id).await, ["placed", "claimed", "completed"]);
    for (event, at) in events.iter().zip(["created_at", "claimed_at", "completed_at"]) {
        assert_eq!(event["at"], order[at]);
    }
    assert_eq!(system.database.scalar::<i64>("select count(*) from order_events").await, 0);
    system.end().await;
}
