//! What people see of the queue and its workers, and how they pause and resume it.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use orders_tests::{Api, SOON, System, eventually, wait_until};
use serde_json::{Value, json};

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_can_be_paused_and_resumed_by_many_at_once() {
    let system = System::start().await;

    let paths = (0..40).map(|number| if number % 2 == 0 { "/queue/pause" } else { "/queue/resume" });
    let answers = join_all(paths.map(|path| system.post(path, ""))).await;

    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["paused"] == true, answer.json()["paused_at"].is_string(), "{answer:?}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_is_not_claimed_from_even_by_a_worker_that_starts_later() {
    let system = System::start().await;
    system.start_worker(&[]).await;

    let paused = system.post("/queue/pause", "").await;
    let order_id = system.place(&sample::order()).await;
    system.start_worker(&[]).await;
    let again = system.post("/queue/pause", "").await;

    assert_eq!((paused.status, again.status), (200, 200), "{paused:?} {again:?}");
    assert_eq!(paused.json(), again.json(), "the first pause counts");
    wait_until("both workers beat", async || queue(&system).await["workers"].as_array().unwrap().len() == 2).await;
    let seen = queue(&system).await;
    assert_eq!((&seen["paused"], &seen["paused_at"]), (&json!(true), &paused.json()["paused_at"]));
    assert_eq!(seen["depth"]["PENDING"], 1);
    assert_eq!(seen["oldest_due"]["order_id"], order_id.to_string());
    let explained = system.why(order_id).await;
    assert_eq!(explained["code"], "queue_paused", "{explained}");

    let resumed = system.post("/queue/resume", "").await;

    assert_eq!(resumed.json(), json!({"paused": false, "paused_at": null}));
    let order = system.wait_for_status(order_id, "COMPLETED").await;
    assert_eq!(order["attempt"], 1);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_order_is_not_claimed_before_its_time() {
    let system = System::start().await;
    system.start_worker(&[]).await;
    let mut order = sample::order();
    let process_after = Utc::now() + TimeDelta::seconds(2);
    order["process_after"] = json!(process_after.to_rfc3339());
    let mut far = sample::order();
    far["process_after"] = json!("2999-12-31T23:59:59.999999+00:00");

    let order_id = system.place(&order).await;
    let never = system.place(&far).await;

    let explained = system.why(order_id).await;
    assert_eq!(explained["code"], "scheduled", "{explained}");
    let order = system.wait_for_status(order_id, "COMPLETED").await;
    let claimed_at: DateTime<Utc> = order["claimed_at"].as_str().unwrap().parse().unwrap();
    assert!(claimed_at >= process_after - TimeDelta::microseconds(1), "{order}");
    let far = system.order(never).await;
    assert_eq!((&far["status"], &far["available_at"]), (&json!("PENDING"), &json!("2999-12-31T23:59:59.999999Z")));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_shows_each_worker_and_what_it_does() {
    let system = System::start().await;
    let env = [("SIMULATED_PROCESSING_MS", "60000"), ("WORKER_CONCURRENCY", "7"), ("WORKER_DEAD_AFTER_SECS", "2")];
    let worker = system.start_worker(&env).await;
    let order_id = system.place(&sample::order()).await;

    let shown = eventually("a heartbeat tells of the order", SOON, || async {
        let seen = queue(&system).await;
        (seen["workers"][0]["busy"] == 1).then_some(seen)
    })
    .await;

    let it = &shown["workers"][0];
    assert_eq!(it["slots"], 7);
    assert_eq!(it["pid"], worker.pid());
    let release = format!("{}+", env!("CARGO_PKG_VERSION"));
    for version in [&it["version"], &shown["version"]] {
        assert!(version.as_str().is_some_and(|version| version.starts_with(&release)), "{version}");
    }
    assert!(it["host"].as_str().is_some_and(|host| !host.is_empty()));
    assert_eq!(shown["depth"], json!({"PENDING": 0, "PROCESSING": 1, "COMPLETED": 0, "FAILED": 0, "CANCELED": 0}));
    assert_eq!(shown["oldest_due"], Value::Null);
    let explained = system.why(order_id).await;
    assert_eq!(explained["code"], "claimed", "{explained}");
    assert_eq!(explained["claimed_by"]["worker_id"], it["worker_id"]);
    system.end_with_work_under_way().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_takes_itself_off_the_list() {
    let system = System::start().await;
    let worker = system.start_worker(&[]).await;
    wait_until("it is on the list", async || queue(&system).await["workers"].as_array().unwrap().len() == 1).await;

    assert_eq!(worker.terminate().await.code(), Some(0));

    assert_eq!(queue(&system).await["workers"], json!([]));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waits_is_told_what_it_waits_for() {
    let system = System::start().await;
    let first = system.place(&sample::order()).await;
    let second = system.place(&sample::order()).await;

    let alone = system.why(first).await;

    assert_eq!(alone["code"], "no_live_worker", "{alone}");
    let env = [("SIMULATED_PROCESSING_MS", "60000"), ("WORKER_CONCURRENCY", "1"), ("SHUTDOWN_GRACE_SECS", "1")];
    system.start_worker(&env).await;
    system.wait_for_status(first, "PROCESSING").await;
    let next = system.why(second).await;
    assert_eq!((&next["code"], &next["ahead"]), (&json!("next"), &json!(0)), "{next}");
    let third = system.place(&sample::order()).await;
    let behind = system.why(third).await;
    assert_eq!((&behind["code"], &behind["ahead"]), (&json!("others_ahead"), &json!(1)), "{behind}");
    system.end_with_work_under_way().await;
}

async fn queue(api: &Api) -> Value {
    api.get("/queue").await.json()
}
