//! What the tests of faults stand on: a server that can be ended and comes back with its data.

use std::time::Duration;

use orders_tests::{Api, OwnServer};
use tokio::time::timeout;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_its_own_keeps_its_data_when_it_is_killed_restarted_and_frozen() {
    let server = OwnServer::start(&[]).await;
    let api = Api::start(&server.url, &[]).await;
    let order_id = api.place(&sample::order()).await;

    server.kill();
    api.wait_for_readiness(503).await;
    server.start_again().await;
    api.wait_until_ready().await;
    assert_eq!(server.state(order_id).await.0, "PENDING");

    server.restart().await;
    api.wait_until_ready().await;
    assert_eq!(server.orders().await, 1);

    server.freeze();
    let asked = timeout(Duration::from_millis(300), server.orders()).await;
    assert!(asked.is_err(), "a frozen server answered");
    server.thaw();
    assert_eq!(server.orders().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_its_own_is_read_only_for_the_programs_when_the_test_says_so() {
    let server = OwnServer::start(&["--max-connections=30"]).await;
    let programs = sqlx::MySqlPool::connect(&server.url).await.unwrap();
    let write = async || sqlx::query("insert into queue_probe values (1)").execute(&programs).await;
    sqlx::query("create table queue_probe (id int)").execute(&programs).await.unwrap();

    server.execute("set global read_only = 1").await;
    let refused = write().await.unwrap_err();
    server.execute("set global read_only = 0").await;

    assert_eq!(number(&refused), 1290, "{refused}");
    write().await.unwrap();
    let max: i64 =
        sqlx::query_scalar("select cast(@@max_connections as signed)").fetch_one(&server.pool).await.unwrap();
    assert_eq!(max, 30);
}

fn number(error: &sqlx::Error) -> u16 {
    let error = error.as_database_error().unwrap_or_else(|| panic!("{error}"));
    error.downcast_ref::<sqlx::mysql::MySqlDatabaseError>().number()
}
