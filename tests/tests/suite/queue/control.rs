//! What people see of the queue and its workers, and how they pause and resume it.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use orders_tests::{Api, Worker, database, eventually};
use serde_json::{Value, json};

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_can_be_paused_and_resumed_by_many_at_once() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;

    let paths = (0..40).map(|number| if number % 2 == 0 { "/queue/pause" } else { "/queue/resume" });
    let answers = join_all(paths.map(|path| api.post(path, ""))).await;

    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["paused"] == true, answer.json()["paused_at"].is_string(), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_is_not_claimed_from_even_by_a_worker_that_starts_later() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let _early = Worker::start(&database.url, &[]).await;

    let paused = api.post("/queue/pause", "").await;
    let order_id = api.place(&sample::order()).await;
    let late = Worker::start(&database.url, &[]).await;
    let again = api.post("/queue/pause", "").await;

    assert_eq!((paused.status, again.status), (200, 200), "{paused:?} {again:?}");
    assert_eq!(paused.json(), again.json(), "the first pause counts");
    eventually("both workers beat", sample::SOON, || async {
        (queue(&api).await["workers"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    let seen = queue(&api).await;
    assert_eq!((&seen["paused"], &seen["paused_at"]), (&json!(true), &paused.json()["paused_at"]));
    assert_eq!(seen["depth"]["PENDING"], 1);
    assert_eq!(seen["oldest_due"]["order_id"], order_id.to_string());
    let explained = sample::why(&api, order_id).await;
    assert_eq!(explained["code"], "queue_paused", "{explained}");

    let resumed = api.post("/queue/resume", "").await;

    assert_eq!(resumed.json(), json!({"paused": false, "paused_at": null}));
    let order = sample::wait_for_status(&api, order_id, "COMPLETED").await;
    assert_eq!(order["attempt"], 1);
    drop(late);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_order_is_not_claimed_before_its_time() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let _worker = Worker::start(&database.url, &[]).await;
    let mut order = sample::order();
    let process_after = Utc::now() + TimeDelta::seconds(2);
    order["process_after"] = json!(process_after.to_rfc3339());
    let mut far = sample::order();
    far["process_after"] = json!("2999-12-31T23:59:59.999999+00:00");

    let order_id = api.place(&order).await;
    let never = api.place(&far).await;

    let explained = sample::why(&api, order_id).await;
    assert_eq!(explained["code"], "scheduled", "{explained}");
    let order = sample::wait_for_status(&api, order_id, "COMPLETED").await;
    let claimed_at: DateTime<Utc> = order["claimed_at"].as_str().unwrap().parse().unwrap();
    assert!(claimed_at >= process_after - TimeDelta::microseconds(1), "{order}");
    let far = api.get(&format!("/orders/{never}")).await.json();
    assert_eq!((&far["status"], &far["available_at"]), (&json!("PENDING"), &json!("2999-12-31T23:59:59.999999Z")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_shows_each_worker_and_what_it_does() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let env = [("SIMULATED_PROCESSING_MS", "60000"), ("WORKER_CONCURRENCY", "7"), ("WORKER_DEAD_AFTER_SECS", "2")];
    let worker = Worker::start(&database.url, &env).await;
    let order_id = api.place(&sample::order()).await;

    let shown = eventually("a heartbeat tells of the order", sample::SOON, || async {
        let seen = queue(&api).await;
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
    let explained = sample::why(&api, order_id).await;
    assert_eq!(explained["code"], "claimed", "{explained}");
    assert_eq!(explained["claimed_by"]["worker_id"], it["worker_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_takes_itself_off_the_list() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, &[]).await;
    eventually("it is on the list", sample::SOON, || async {
        (queue(&api).await["workers"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;

    assert_eq!(worker.terminate().await.code(), Some(0));

    assert_eq!(queue(&api).await["workers"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waits_is_told_what_it_waits_for() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let first = api.place(&sample::order()).await;
    let second = api.place(&sample::order()).await;

    let alone = sample::why(&api, first).await;

    assert_eq!(alone["code"], "no_live_worker", "{alone}");
    let env = [("SIMULATED_PROCESSING_MS", "60000"), ("WORKER_CONCURRENCY", "1"), ("SHUTDOWN_GRACE_SECS", "1")];
    let _worker = Worker::start(&database.url, &env).await;
    sample::wait_for_status(&api, first, "PROCESSING").await;
    let next = sample::why(&api, second).await;
    assert_eq!((&next["code"], &next["ahead"]), (&json!("next"), &json!(0)), "{next}");
    let third = api.place(&sample::order()).await;
    let behind = sample::why(&api, third).await;
    assert_eq!((&behind["code"], &behind["ahead"]), (&json!("others_ahead"), &json!(1)), "{behind}");
}

async fn queue(api: &Api) -> Value {
    api.get("/queue").await.json()
}
