//! The programs' logs, also when nobody reads them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orders_tests::{Api, Proxy, SOON, System, Worker, database, eventually, wait_until};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sample;

const DROPPED: &str = "orders_log_lines_dropped_total";

#[tokio::test(flavor = "multi_thread")]
async fn an_api_whose_log_nobody_can_read_any_more_outlives_a_silent_database() {
    let database = database().await;
    let proxy = Proxy::start(&database.url).await;
    let (api, reader) = Api::start_unread(&proxy.url, &[]).await;
    let order = sample::order().to_string();

    drop(reader);
    proxy.stall();
    let refused = api.post("/order/create-order", &order).await;
    api.wait_for_readiness(503).await;
    proxy.resume();

    let _ = refused.assert_problem(503);
    for _ in 0..2 {
        api.place_when_possible(&sample::order()).await;
    }
    assert!(api.counter(DROPPED).await > 0.0);
    assert_eq!(api.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_log_nobody_can_read_any_more_fails_orders_and_goes_on() {
    let system = System::start().await;
    let env = [
        ("SIMULATED_FAULTS", "fail=user:13,panic=user:14,hang=user:15,reject=user:16"),
        ("PROCESSING_TIMEOUT_MS", "100"),
        ("WORKER_MAX_ATTEMPTS", "2"),
        ("WORKER_RETRY_BASE_MS", "1"),
        ("WORKER_CONCURRENCY", "2"),
    ];
    let (worker, reader) = Worker::start_unread(&system.proxy.url, &env).await;

    drop(reader);
    system.proxy.stall();
    worker.wait_for_readiness(503).await;
    system.proxy.resume();

    for user_id in 13..=16 {
        let order_id = system.place(&sample::order_of(user_id)).await;
        system.wait_for_status(order_id, "FAILED").await;
    }
    let order_id = system.place(&sample::order()).await;
    system.wait_for_status(order_id, "COMPLETED").await;
    wait_until("every slot is free", async || worker.counter("orders_worker_slots_busy").await < 0.5).await;
    assert!(worker.counter(DROPPED).await > 0.0);
    assert_eq!(worker.terminate().await.code(), Some(0));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_up_neither_the_work_nor_the_end() {
    let database = database().await;
    let talkative = [("RUST_LOG", "trace"), ("SHUTDOWN_GRACE_SECS", "1")];
    let failing =
        [("SIMULATED_FAULTS", "fail=user:13"), ("WORKER_MAX_ATTEMPTS", "1000"), ("WORKER_RETRY_BASE_MS", "1")];
    let (api, _unread) = Api::start_unread(&database.url, &talkative).await;
    let (worker, _unread_too) = Worker::start_unread(&database.url, &[&talkative[..], &failing].concat()).await;

    let batch = json!({"orders": vec![sample::order_of(13); 500]}).to_string();
    // Each order fails about fourteen times before its pauses get long.
    for _ in 0..3 {
        assert_eq!(api.post("/orders/batch", &batch).await.status, 201);
    }
    eventually("both logs are full", SOON, || async {
        join_all((0..200).map(|_| api.get("/nowhere"))).await;
        (api.counter(DROPPED).await > 0.0 && worker.counter(DROPPED).await > 0.0).then_some(())
    })
    .await;
    let order_id = api.place(&sample::order()).await;
    api.wait_for_status(order_id, "COMPLETED").await;

    let asked = Instant::now();
    let (api, worker) = tokio::join!(api.terminate(), worker.terminate());
    assert_eq!((api.code(), worker.code()), (Some(0), Some(0)));
    assert!(asked.elapsed() < Duration::from_secs(1 + 2), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_lines_come_out() {
    let database = database().await;
    let (api, reader) = Api::start_unread(&database.url, &[("SHUTDOWN_GRACE_SECS", "1")]).await;
    let said = std::thread::spawn(move || std::io::read_to_string(reader));

    assert_eq!(api.terminate().await.code(), Some(0));

    let said = said.join().unwrap().unwrap();
    assert!(said.lines().last().is_some_and(|last| last.contains("SIGTERM: draining")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_action_of_a_person_leaves_one_line_in_the_log() {
    let system = System::start_with(&[("LOG_FORMAT", "json")]).await;
    let order_id = system.place(&sample::order()).await;
    let unknown = Uuid::now_v7();
    let (order, other) = (format!("/orders/{order_id}"), format!("/orders/{unknown}"));

    for (path, request_id) in [
        (format!("{order}/cancel"), "one"),
        (format!("{order}/retry"), "two"),
        (format!("{other}/cancel"), "three"),
        ("/queue/pause".to_owned(), "four"),
        ("/queue/resume".to_owned(), "five"),
    ] {
        system.send(system.client().post(system.url(&path)).header("x-request-id", request_id)).await;
    }

    let (order, other) = (order_id.to_string(), unknown.to_string());
    let expected = [
        ("one", "cancel", Some(&order), "the order is CANCELED"),
        ("two", "retry", Some(&order), "refused: the order is CANCELED"),
        ("three", "cancel", Some(&other), "refused: there is no such order"),
        ("four", "pause", None, "done"),
        ("five", "resume", None, "done"),
    ];
    let lines = eventually("all lines are there", SOON, || async {
        let lines = lines_of(&system, "a person acted");
        (lines.len() == expected.len()).then_some(lines)
    })
    .await;
    for (line, (request_id, action, order_id, outcome)) in lines.iter().zip(expected) {
        let fields = &line["fields"];
        assert_eq!((&line["level"], &line["span"]["request_id"]), (&"INFO".into(), &request_id.into()), "{line}");
        assert_eq!((&fields["action"], &fields["outcome"]), (&action.into(), &outcome.into()), "{line}");
        assert_eq!(fields["order_id"].as_str(), order_id.map(String::as_str), "{line}");
        assert!(fields["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")), "{line}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_request_has_a_line_in_the_log_and_one_that_was_asked_to_wait_has_none() {
    let system = System::start_behind_proxy(&[("LOG_FORMAT", "json")]).await;
    let order_id = system.place(&sample::order()).await;

    let waited = system.get(&format!("/orders/{order_id}?wait=2")).await;
    system.proxy.delay(Duration::from_millis(1_100));
    let slow = system.get(&format!("/orders/{order_id}")).await;
    system.proxy.delay(Duration::ZERO);

    assert_eq!((waited.status, slow.status), (200, 200));
    let lines = eventually("it is told", SOON, || async {
        let mut lines = lines_of(&system, "a request was slow");
        lines.retain(|line| line["span"]["route"] == "/orders/{order_id}");
        (!lines.is_empty()).then_some(lines)
    })
    .await;
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&line["level"], &line["span"]["method"]), (&"WARN".into(), &"GET".into()), "{line}");
    assert_eq!(line["span"]["request_id"], slow.header("x-request-id").unwrap(), "{line}");
    assert_eq!(line["fields"]["status"], 200, "{line}");
    assert!(line["fields"]["duration_ms"].as_u64().is_some_and(|ms| (1_000..10_000).contains(&ms)), "{line}");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_cannot_fill_the_log_with_failures_and_each_is_counted_there() {
    const FAILURES: usize = 300;
    let system = System::start_behind_proxy(&[("LOG_FORMAT", "json")]).await;
    let order_id = system.place(&sample::order()).await;
    let path = format!("/orders/{order_id}");

    system.proxy.cut();
    let replies = join_all((0..FAILURES).map(|_| system.get(&path))).await;

    assert!(replies.iter().all(|reply| reply.status == 503));
    // The first line of the next second tells how many failures had no line of their own.
    let failed = AtomicUsize::new(FAILURES);
    let lines = eventually("each failure is told of", SOON, || async {
        assert_eq!(system.get(&path).await.status, 503);
        let failed = 1 + failed.fetch_add(1, Ordering::Relaxed);
        let lines = lines_of(&system, "a request failed");
        let unsaid: u64 = lines.iter().filter_map(|line| line["fields"]["unsaid"].as_u64()).sum();
        (lines.len() + usize::try_from(unsaid).unwrap() == failed).then_some(lines)
    })
    .await;
    assert!(lines.len() < FAILURES / 2, "{} lines", lines.len());
    system.end().await;
}

/// The lines of a JSON log with this message.
fn lines_of(api: &Api, message: &str) -> Vec<Value> {
    let logs = api.logs();
    let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["fields"]["message"] == message).collect()
}
