//! A server that refuses a host after too many interrupted handshakes in a row (1129), until somebody flushes its host
//! cache.

use std::time::{Duration, Instant};

use orders_tests::{OwnServer, System, eventually};

use super::{RECOVERED_WITHIN, assert_comes_again, wait_until_an_order_is_completed, wait_until_an_order_is_taken};
use crate::crowd;
use crate::sample;

const FEW: &str = "--max-connect-errors=10";

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_go_before_their_answers_do_not_get_the_api_shut_out() {
    const ATTACK: Duration = Duration::from_secs(5);
    let system = System::on(OwnServer::start(&[FEW]).await, &[]).await;
    system.place(&sample::order()).await;
    // Held meanwhile: a new session of the test's would set the server's count back.
    let mut root = system.database.pool.acquire().await.unwrap();

    let started = Instant::now();
    while started.elapsed() < ATTACK {
        tokio::join!(
            crowd::come_and_go(system.api.address(), "/queue", 15, 40),
            crowd::come_and_go(system.api.address(), "/orders", 15, 40),
        );
    }

    system.database.end_connections(&mut root).await;
    wait_until_an_order_is_taken(&system).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_frozen_under_load_has_shut_nobody_out() {
    let system = System::on(OwnServer::start(&[FEW]).await, &[]).await;
    system.start_worker(&[]).await;
    wait_until_an_order_is_completed(&system).await;

    system.database.freeze();
    let frozen = Instant::now();
    while frozen.elapsed() < Duration::from_secs(20) {
        let order = sample::order().to_string();
        let (placed, queue, list) =
            tokio::join!(system.post("/order/create-order", &order), system.get("/queue"), system.get("/orders"),);
        for reply in [placed, queue, list] {
            assert_comes_again(&reply);
        }
    }
    system.database.thaw();

    wait_until_an_order_is_completed(&system).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_another_one_of_their_host_got_shut_out_say_so_and_recover_when_the_host_cache_is_flushed() {
    let server = OwnServer::start(&[FEW]).await;
    if !server.is_off_loopback() {
        return; // The run says that this was not tested.
    }
    let system = System::on(server, &[]).await;
    // MySQL no longer knows the statement, and MariaDB not yet the table.
    let flush =
        if system.database.is_mariadb().await { "flush hosts" } else { "truncate performance_schema.host_cache" };
    let worker = system.start_worker(&[]).await;
    // Held from before: this host gets no new connection either.
    let mut root = system.database.pool.acquire().await.unwrap();

    // A connection of the programs' sets the server's count back, so one row of interrupted handshakes may not do.
    let started = Instant::now();
    while system.post("/order/create-order", &sample::order().to_string()).await.status == 201 {
        assert!(started.elapsed() < RECOVERED_WITHIN, "the server still takes this host's connections");
        for _ in 0..11 {
            crowd::interrupt_handshake(system.database.address()).await;
        }
        system.database.end_connections(&mut root).await;
    }

    assert_comes_again(&system.post("/order/create-order", &sample::order().to_string()).await);
    for program in [&*system.api, &*worker] {
        program.wait_for_readiness(503).await;
        eventually("it logs the cure", RECOVERED_WITHIN, || async {
            program.logs().contains("max_connect_errors").then_some(())
        })
        .await;
    }
    sqlx::raw_sql(flush).execute(&mut *root).await.unwrap();

    wait_until_an_order_is_completed(&system).await;
    system.api.wait_until_ready().await;
    worker.wait_until_ready().await;
    system.end().await;
}
