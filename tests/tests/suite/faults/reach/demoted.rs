//! A server that only reads: for a while, or because another one is the primary now.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orders_tests::{OwnServer, System, eventually};

use super::{assert_comes_again, wait_for_readiness, wait_until_an_order_is_completed};
use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_not_ready_while_the_server_only_reads_and_leave_it_for_another_one() {
    let system = System::on(OwnServer::start(&[]).await, &[]).await;
    let only_reads = if system.database.is_mariadb().await { "read_only" } else { "super_read_only" };
    let worker = system.start_worker(&[]).await;
    wait_until_an_order_is_completed(&system).await;
    let before = system.database.connections().await;

    system.database.execute(&format!("set global {only_reads} = 1")).await;

    eventually("an order is refused", Duration::from_secs(5), || async {
        let reply = system.post("/order/create-order", &sample::order().to_string()).await;
        (reply.status != 201).then(|| assert_comes_again(&reply))
    })
    .await;
    wait_for_readiness(503, &system, &worker).await;
    assert_eq!(system.get("/orders").await.status, 200, "what is there can be read");
    eventually("no connection of before is left", Duration::from_secs(10), || async {
        let now = system.database.connections().await;
        now.iter().all(|id| !before.contains(id)).then_some(())
    })
    .await;

    let (lines, asked) = (system.api.logs().lines().count(), Instant::now());
    while asked.elapsed() < Duration::from_secs(5) {
        let order = sample::order().to_string();
        let scrapes = join_all((0..50).map(|_| system.get("/metrics/prometheus")));
        let creates = join_all((0..20).map(|_| system.post("/order/create-order", &order)));
        tokio::join!(scrapes, creates);
    }
    let lines = u64::try_from(system.api.logs().lines().count() - lines).unwrap();
    // Ten failures a second, ten readings, five polls of the readiness, and some about the connections.
    assert!(lines < 40 * (1 + asked.elapsed().as_secs()), "{lines} lines in {:?}", asked.elapsed());

    system.database.execute("set global read_only = 0").await;
    wait_for_readiness(200, &system, &worker).await;
    wait_until_an_order_is_completed(&system).await;
    system.end().await;
}
