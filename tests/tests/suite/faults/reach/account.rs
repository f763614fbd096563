//! What the server allows the programs' account.

use futures_util::future::join_all;
use orders_tests::{Api, OwnServer, System};
use sqlx::{Connection, MySqlConnection};

use super::{assert_comes_again, wait_until_an_order_is_taken};
use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_have_few_connections_makes_calls_wait_and_fails_none() {
    let system = System::on(OwnServer::start(&[]).await, &[("DATABASE_MAX_CONNECTIONS", "10")]).await;
    system.place(&sample::order()).await;

    system.database.execute("alter user 'orders'@'%' with max_user_connections 3").await;
    system.database.kill_connections(|| true).await;

    assert_none_fails(&system).await;
    wait_until_an_order_is_taken(&system).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_out_of_queries_for_this_hour_is_told_to_come_again() {
    let system = System::on(OwnServer::start(&[]).await, &[]).await;
    system.place(&sample::order()).await;

    system.database.execute("alter user 'orders'@'%' with max_queries_per_hour 20").await;
    system.database.kill_connections(|| true).await;

    assert_none_fails(&system).await;
    system.api.wait_for_readiness(503).await;
    system.database.execute("alter user 'orders'@'%' with max_queries_per_hour 0").await;
    system.database.execute("flush user_resources").await;
    system.database.kill_connections(|| true).await;
    wait_until_an_order_is_taken(&system).await;
    system.api.wait_until_ready().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_start_when_the_account_has_no_connection_left_are_not_ready_until_it_has() {
    let server = OwnServer::start(&[]).await;
    server.execute("alter user 'orders'@'%' with max_user_connections 1").await;
    let _only = MySqlConnection::connect(&server.url).await.unwrap();

    let api = Api::start_unready(&server.url, &[]).await;
    let problem = api.get("/readyz").await.assert_problem(503);
    assert!(problem["detail"].as_str().unwrap().contains("not been reached yet"), "{problem}");
    let refused = api.post("/order/create-order", &sample::order().to_string()).await;
    assert_comes_again(&refused);

    server.execute("alter user 'orders'@'%' with max_user_connections 0").await;
    wait_until_an_order_is_taken(&api).await;
    api.wait_until_ready().await;
}

/// Many lists and creates at the same time, some times over: each is answered or told to come again.
async fn assert_none_fails(api: &Api) {
    for _ in 0..5 {
        let order = sample::order().to_string();
        let lists = join_all((0..30).map(|_| api.get("/orders")));
        let creates = join_all((0..5).map(|_| api.post("/order/create-order", &order)));
        let (lists, creates) = tokio::join!(lists, creates);
        for reply in lists.iter().chain(&creates) {
            assert!(matches!(reply.status, 200 | 201 | 503), "{reply:?}");
        }
    }
}
