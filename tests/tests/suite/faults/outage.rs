//! The database away, and back.

use std::time::{Duration, Instant};

use orders_tests::{Api, Proxy, Worker, database, eventually};

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_the_api_says_when_to_come_again_and_recovers_by_itself() {
    let database = database().await;
    let proxy = Proxy::start(&database.url).await;
    let api = Api::start(&proxy.url, &[]).await;
    let order_id = api.place(&sample::order()).await;

    proxy.cut();

    let refused = api.post("/order/create-order", &sample::order().to_string()).await;
    assert_is_away(&refused);
    for path in ["/order/status/PENDING", "/metrics", &format!("/orders/{order_id}")] {
        assert_is_away(&api.get(path).await);
    }
    api.wait_for_readiness(503).await;
    assert_eq!(api.get("/livez").await.status, 200, "a restart would not bring the database back");
    assert_eq!(database.orders().await, 1);

    proxy.restore();

    eventually("orders are taken again", sample::SOON, || async {
        let reply = api.post("/order/create-order", &sample::order().to_string()).await;
        (reply.status == 201).then_some(())
    })
    .await;
    api.wait_until_ready().await;
    assert_eq!(database.orders().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_completes_what_it_held_and_goes_on_after_an_outage() {
    let database = database().await;
    let proxy = Proxy::start(&database.url).await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&proxy.url, &[("SIMULATED_PROCESSING_MS", "500")]).await;
    let held = api.place(&sample::order()).await;
    sample::wait_until_stored_as(&database, held, "PROCESSING").await;

    proxy.cut();
    worker.wait_for_readiness(503).await;
    let placed_meanwhile = api.place(&sample::order()).await;
    proxy.restore();

    for order_id in [held, placed_meanwhile] {
        sample::wait_until_stored_as(&database, order_id, "COMPLETED").await;
        assert_eq!(database.state(order_id).await.1, 1);
    }
    worker.wait_until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_both_programs_while_the_database_is_away() {
    assert_both_end_in_time_after(Proxy::cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_is_away_and_comes_back() {
    let database = database().await;
    let proxy = Proxy::start(&database.url).await;
    let api = Api::start(&proxy.url, &[]).await;
    let worker = Worker::start(&proxy.url, &[]).await;
    let order_id = api.place(&sample::order()).await;
    sample::wait_until_stored_as(&database, order_id, "COMPLETED").await;

    proxy.stall();

    let order = sample::order().to_string();
    let path = format!("/orders/{order_id}");
    let (placed, listed, read) =
        tokio::join!(api.post("/order/create-order", &order), api.get("/order/status/PENDING"), api.get(&path));
    for refused in [&placed, &listed, &read] {
        assert_is_away(refused);
    }
    tokio::join!(api.wait_for_readiness(503), worker.wait_for_readiness(503));

    proxy.resume();

    tokio::join!(api.wait_until_ready(), worker.wait_until_ready());
    let order_id = eventually("orders are taken again", sample::SOON, || async {
        let reply = api.post("/order/create-order", &order).await;
        (reply.status == 201).then(|| reply.json()["data"]["order_id"].as_str().unwrap().parse().unwrap())
    })
    .await;
    sample::wait_until_stored_as(&database, order_id, "COMPLETED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_both_programs_in_time_while_the_database_is_silent() {
    assert_both_end_in_time_after(Proxy::stall).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_given_up_leave_their_permits_to_others() {
    let database = database().await;
    let api = Api::start(&database.url, &[("DATABASE_MAX_CONNECTIONS", "2")]).await;
    let path = format!("/orders/{}", api.place(&sample::order()).await);
    let mut holder = database.pool.acquire().await.unwrap();
    sqlx::raw_sql("lock tables orders write").execute(&mut *holder).await.unwrap();

    let (one, other) = tokio::join!(api.get(&path), api.get(&path));
    // The server still runs both statements, and answers requests that need no order.
    let paused = api.post("/queue/pause", "").await;

    assert_is_away(&one);
    assert_is_away(&other);
    assert_eq!(paused.status, 200, "{paused:?}");
    sqlx::raw_sql("unlock tables").execute(&mut *holder).await.unwrap();
    assert_eq!(api.get(&path).await.status, 200);
}

/// Ends both programs after they lost the database, with an order in work.
async fn assert_both_end_in_time_after(loss: impl Fn(&Proxy)) {
    let database = database().await;
    let proxy = Proxy::start(&database.url).await;
    let api = Api::start(&proxy.url, &[("SHUTDOWN_GRACE_SECS", "1")]).await;
    let env = [("SIMULATED_PROCESSING_MS", "60000"), ("SHUTDOWN_GRACE_SECS", "1")];
    let worker = Worker::start(&proxy.url, &env).await;
    let order_id = api.place(&sample::order()).await;
    sample::wait_until_stored_as(&database, order_id, "PROCESSING").await;

    loss(&proxy);
    let asked = Instant::now();
    let (api, worker) = tokio::join!(api.terminate(), worker.terminate());

    assert_eq!((api.code(), worker.code()), (Some(0), Some(0)));
    assert!(asked.elapsed() < Duration::from_secs(1 + 2), "{:?}", asked.elapsed());
}

fn assert_is_away(reply: &orders_tests::Reply) {
    let _ = reply.assert_problem(503);
    let seconds = reply.header("retry-after").unwrap_or_else(|| panic!("no Retry-After: {reply:?}"));
    assert!(seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{reply:?}");
}
