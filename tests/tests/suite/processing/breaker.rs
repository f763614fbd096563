//! A service that fails, rejects everything or may be sent only so many orders gets few, and no order suffers for it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orders_tests::{SOON, System, Worker, eventually, wait_until};
use serde_json::{Value, json};

use super::service::Manner::{self, Hang, HangUp, Status};
use super::service::Service;
use crate::sample;

/// Orders that are due at once.
async fn place(system: &System, orders: usize) -> Vec<Value> {
    let mut placed = Vec::with_capacity(orders);
    while placed.len() < orders {
        let batch = vec![sample::order(); (orders - placed.len()).min(100)];
        let reply = system.post("/orders/batch", &json!({ "orders": batch }).to_string()).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        placed.extend(reply.json()["orders"].as_array().unwrap().iter().cloned());
    }
    placed
}

/// Waits until the only worker's breaker is closed or not, and returns what the queue shows of it.
async fn wait_for_breaker(system: &System, is_closed: bool) -> Value {
    eventually("the queue shows the breaker so", SOON, || async {
        let breaker = system.show("/queue").await["workers"][0]["breaker"].clone();
        let state = breaker["state"].as_str()?;
        ((state == "closed") == is_closed).then_some(breaker)
    })
    .await
}

async fn wait_for_calls(service: &Service, calls: usize) {
    wait_until("the service is called", async || service.calls().len() >= calls).await;
}

async fn wait_until_completed(system: &System, orders: i64) {
    wait_until("they are completed", async || system.database.orders_in("COMPLETED").await >= orders).await;
}

/// The breaker of a worker with 64 slots opens for a service like this, and closes when it is back.
async fn opens_and_closes(manner: Manner) {
    const ORDERS: usize = 200;
    let service = Service::start(manner).await;
    let system = System::start().await;
    let placed = place(&system, ORDERS).await;

    let worker = system.start_worker(&[service.url(), ("FULFILMENT_TIMEOUT_MS", "300")]).await;
    let open = wait_for_breaker(&system, false).await;
    assert!(open["reason"].as_str().unwrap().starts_with("failing: "), "{open}");
    let (opened, called) = (Instant::now(), service.calls().len());
    assert!(called <= 30, "a start is slow: {called} calls for {manner:?}");
    let why = system.why(sample::id(&placed[ORDERS - 1])).await;
    assert_eq!(why["code"], "service_unavailable", "{why}");
    assert!(why["reason"].as_str().unwrap().contains(open["reason"].as_str().unwrap()), "{why}");
    wait_for_calls(&service, called + 3).await;
    assert!(opened.elapsed() > Duration::from_secs(3), "probes have pauses: {:?} for {manner:?}", opened.elapsed());
    assert!(worker.counter("orders_fulfilment_breaker_opened_total").await < 1.5);

    service.answer(Status(204));
    wait_until_completed(&system, 200).await;
    let closed = wait_for_breaker(&system, true).await;
    assert_eq!(closed["reason"], Value::Null);
    assert_ne!(closed["since"], open["since"]);
    let shown = system.show("/queue").await;
    assert_eq!(shown["workers"][0]["processor"], "http");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_opens_for_a_service_that_fails_hangs_or_hangs_up_and_closes_when_it_is_back() {
    join_all([Status(503), Status(500), Status(401), Hang, HangUp].map(opens_and_closes)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_rejects_everything_fails_some_twenty_orders_and_gets_the_others_once_it_is_well() {
    const ORDERS: u16 = 2_000;
    let service = Service::start(Status(422)).await;
    let system = System::start().await;
    place(&system, ORDERS.into()).await;

    let worker = system.start_worker(&[service.url()]).await;
    let open = wait_for_breaker(&system, false).await;
    assert!(open["reason"].as_str().unwrap().starts_with("rejecting: "), "{open}");
    let called = service.calls().len();
    wait_for_calls(&service, called + 2).await;
    service.answer(Status(200));
    wait_until("the rest is completed", async || {
        system.database.orders_in("COMPLETED").await + system.database.orders_in("FAILED").await == i64::from(ORDERS)
    })
    .await;

    let failed = system.database.orders_in("FAILED").await;
    assert!((10..=20).contains(&failed), "{failed} orders failed");
    assert!(service.calls().len() < usize::from(ORDERS) + 100, "{}", service.calls().len());
    assert!((worker.counter("orders_fulfilment_breaker_opened_total").await - 1.0).abs() < 0.1);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_guard_a_service_may_reject_every_order() {
    let service = Service::start(Status(422)).await;
    let system = System::start().await;
    place(&system, 100).await;

    let _worker = system.start_worker(&[service.url(), ("FULFILMENT_REJECT_GUARD", "off")]).await;
    wait_until("all have failed", async || system.database.orders_in("FAILED").await == 100).await;

    assert_eq!(service.calls().len(), 100);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_an_hour_uses_up_no_attempt() {
    let service = Service::start(Status(503)).await;
    let system = System::start().await;
    let placed = place(&system, 20).await;
    let _worker = system.start_worker(&[service.url()]).await;
    wait_for_breaker(&system, false).await;

    for _ in 0..2 {
        wait_for_calls(&service, service.calls().len() + 1).await;
        let half_an_hour_passes = "
            update order_outages set since = since - interval 30 minute;
            update orders set available_at = now(6) where status = 'PENDING'
        ";
        system.database.execute(half_an_hour_passes).await;
    }
    service.answer(Status(200));
    wait_until("they are completed", async || {
        // Those that were tried last wait for longer than the test does.
        let become_due = "update orders set available_at = now(6) where status = 'PENDING' and available_at > now(6)";
        system.database.execute(become_due).await;
        system.database.orders_in("COMPLETED").await == 20
    })
    .await;

    for order in &placed {
        let order_id = sample::id(order);
        let story = system.story(order_id).await;
        assert_eq!(system.order(order_id).await["attempt"], 1, "{story:?}");
        assert!(story.iter().filter(|event| *event == "unavailable").count() <= 2, "{story:?}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_is_that_of_three_workers_together() {
    const RATE: usize = 90;
    const SECONDS: usize = 12;
    const ORDERS: usize = 3 * SECONDS * RATE / 2;
    let service = Service::start(Status(200)).await;
    let system = System::start().await;
    assert_eq!(system.post("/queue/pause", "").await.status, 200);
    place(&system, ORDERS).await;
    let rate = RATE.to_string();
    // The sooner a worker counts as dead, the more often it counts the others.
    let env = [service.url(), ("FULFILMENT_RATE", &rate), ("WORKER_DEAD_AFTER_SECS", "3")];
    let _workers: Vec<Worker> = join_all([(); 3].map(|()| system.start_worker(&env))).await;
    wait_until("each has counted all", async || {
        let counted = "select count(*) from workers where heartbeat_at > (select max(started_at) from workers)";
        system.database.scalar::<i64>(counted).await == 3
    })
    .await;

    assert_eq!(system.post("/queue/resume", "").await.status, 200);
    wait_until_completed(&system, i64::try_from(ORDERS).unwrap()).await;

    // A machine that stands still for a moment makes some stretches longer. Workers then catch up on half a second at
    // most, which makes others shorter by less than a twentieth.
    let calls = service.calls();
    let stretches = calls.iter().zip(&calls[SECONDS * RATE..]).map(|(first, last)| *last - *first);
    let (is, should) = (stretches.min().unwrap().as_secs_f64(), Duration::from_secs(SECONDS as u64).as_secs_f64());
    assert!((is / should - 1.0).abs() < 0.1, "{} orders took {is} s", SECONDS * RATE);
    system.end().await;
}
