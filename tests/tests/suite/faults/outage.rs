//! The database away, and back.

use std::time::{Duration, Instant};

use orders_tests::{Proxy, System};

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_the_api_says_when_to_come_again_and_recovers_by_itself() {
    let system = System::start_behind_proxy(&[]).await;
    let order_id = system.place(&sample::order()).await;

    system.proxy.cut();

    let refused = system.post("/order/create-order", &sample::order().to_string()).await;
    assert_is_away(&refused);
    for path in ["/order/status/PENDING", "/metrics", &format!("/orders/{order_id}")] {
        assert_is_away(&system.get(path).await);
    }
    system.api.wait_for_readiness(503).await;
    assert_eq!(system.get("/livez").await.status, 200, "a restart would not bring the database back");
    assert_eq!(system.database.orders().await, 1);

    system.proxy.restore();

    system.place_when_possible(&sample::order()).await;
    system.api.wait_until_ready().await;
    assert_eq!(system.database.orders().await, 2);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_completes_what_it_held_and_goes_on_after_an_outage() {
    let system = System::start().await;
    let worker = system.start_worker_behind_proxy(&[("SIMULATED_PROCESSING_MS", "500")]).await;
    let held = system.place(&sample::order()).await;
    system.database.wait_for_status(held, "PROCESSING").await;

    system.proxy.cut();
    worker.wait_for_readiness(503).await;
    let placed_meanwhile = system.place(&sample::order()).await;
    system.proxy.restore();

    for order_id in [held, placed_meanwhile] {
        system.database.wait_for_status(order_id, "COMPLETED").await;
        assert_eq!(system.database.state(order_id).await.1, 1);
    }
    worker.wait_until_ready().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_both_programs_while_the_database_is_away() {
    assert_both_end_in_time_after(Proxy::cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_is_away_and_comes_back() {
    let system = System::start_behind_proxy(&[]).await;
    let worker = system.start_worker_behind_proxy(&[]).await;
    let order_id = system.place(&sample::order()).await;
    system.database.wait_for_status(order_id, "COMPLETED").await;

    system.proxy.stall();

    let order = sample::order().to_string();
    let path = format!("/orders/{order_id}");
    let (placed, listed, read) = tokio::join!(
        system.post("/order/create-order", &order),
        system.get("/order/status/PENDING"),
        system.get(&path)
    );
    for refused in [&placed, &listed, &read] {
        assert_is_away(refused);
    }
    tokio::join!(system.api.wait_for_readiness(503), worker.wait_for_readiness(503));

    system.proxy.resume();

    tokio::join!(system.api.wait_until_ready(), worker.wait_until_ready());
    let order_id = system.place_when_possible(&sample::order()).await;
    system.database.wait_for_status(order_id, "COMPLETED").await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_both_programs_in_time_while_the_database_is_silent() {
    assert_both_end_in_time_after(Proxy::stall).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_given_up_leave_their_permits_to_others() {
    let system = System::start_with(&[("DATABASE_MAX_CONNECTIONS", "2")]).await;
    let path = format!("/orders/{}", system.place(&sample::order()).await);
    let mut holder = system.database.pool.acquire().await.unwrap();
    sqlx::raw_sql("lock tables orders write").execute(&mut *holder).await.unwrap();

    let (one, other) = tokio::join!(system.get(&path), system.get(&path));
    // The server still runs both statements, and answers requests that need no order.
    let paused = system.post("/queue/pause", "").await;

    assert_is_away(&one);
    assert_is_away(&other);
    assert_eq!(paused.status, 200, "{paused:?}");
    sqlx::raw_sql("unlock tables").execute(&mut *holder).await.unwrap();
    assert_eq!(system.get(&path).await.status, 200);
    system.end().await;
}

/// Ends both programs after they have lost the database while an order was in work.
async fn assert_both_end_in_time_after(loss: impl Fn(&Proxy)) {
    let system = System::start_behind_proxy(&[("SHUTDOWN_GRACE_SECS", "1")]).await;
    let env = [("SIMULATED_PROCESSING_MS", "60000"), ("SHUTDOWN_GRACE_SECS", "1")];
    let worker = system.start_worker_behind_proxy(&env).await;
    let order_id = system.place(&sample::order()).await;
    system.database.wait_for_status(order_id, "PROCESSING").await;

    loss(&system.proxy);
    let asked = Instant::now();
    let (api, worker) = tokio::join!(system.api.terminate(), worker.terminate());

    assert_eq!((api.code(), worker.code()), (Some(0), Some(0)));
    assert!(asked.elapsed() < Duration::from_secs(1 + 2), "{:?}", asked.elapsed());
    system.end_with_work_under_way().await;
}

fn assert_is_away(reply: &orders_tests::Reply) {
    let _ = reply.assert_problem(503);
    let seconds = reply.header("retry-after").unwrap_or_else(|| panic!("no Retry-After: {reply:?}"));
    assert!(seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{reply:?}");
}
