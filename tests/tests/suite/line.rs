//! What the tests of faults stand on: a line that misbehaves as told, and programs that can be stopped.

use std::time::{Duration, Instant};

use orders_tests::{Api, Database, Proxy, database, eventually};
use sqlx::{Connection, MySqlConnection};
use tokio::time::timeout;

use crate::sample;

/// Nothing that passes takes so long, and nothing that waits is so short.
const A_WHILE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_the_line_swallowed_took_effect() {
    let (database, line) = database_and_line().await;
    let mut connection = MySqlConnection::connect(&line.url).await.unwrap();
    let mut other = MySqlConnection::connect(&line.url).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    sqlx::query("insert into marks values (1)").execute(&mut *transaction).await.unwrap();

    line.cut_at_commit();
    let answer = transaction.commit().await;
    line.has_cut().await;

    assert!(answer.is_err(), "the answer is lost");
    assert_eq!(marks(&database).await, 1);
    other.ping().await.expect("no other connection ends");
    other.begin().await.unwrap().commit().await.expect("it happens once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_line_is_silent_and_loses_nothing() {
    let (_database, line) = database_and_line().await;
    let mut connection = MySqlConnection::connect(&line.url).await.unwrap();

    line.stall();
    let asking = tokio::spawn(async move { connection.ping().await });
    assert!(timeout(A_WHILE, MySqlConnection::connect(&line.url)).await.is_err(), "a new connection is silent");
    assert!(!asking.is_finished(), "an old one is silent");
    line.resume();

    asking.await.unwrap().expect("the old connection goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_delays_each_way_and_drops_present_connections_only() {
    let (_database, line) = database_and_line().await;
    let mut connection = MySqlConnection::connect(&line.url).await.unwrap();

    line.delay(A_WHILE);
    let started = Instant::now();
    connection.ping().await.unwrap();
    assert!(started.elapsed() >= A_WHILE * 2, "{:?}", started.elapsed());
    line.delay(Duration::ZERO);

    line.drop_connections();
    assert!(connection.ping().await.is_err());
    MySqlConnection::connect(&line.url).await.expect("a new connection passes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_program_is_silent_until_it_goes_on_and_a_killed_one_has_ended() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;

    api.pause();
    let asked = timeout(A_WHILE, api.get("/livez")).await;
    assert!(asked.is_err(), "a paused program answered");
    assert_eq!(api.ended(), None);
    api.resume();
    assert_eq!(api.get("/livez").await.status, 200);
    eventually("the program logs", sample::SOON, || async { (!api.logs().is_empty()).then_some(()) }).await;

    api.kill();
    assert!(api.ended().is_some_and(|status| !status.success()));
}

async fn database_and_line() -> (Database, Proxy) {
    let database = database().await;
    sqlx::query("create table marks (mark int)").execute(&database.pool).await.unwrap();
    let line = Proxy::start(&database.url).await;
    (database, line)
}

async fn marks(database: &Database) -> i64 {
    sqlx::query_scalar("select count(*) from marks").fetch_one(&database.pool).await.unwrap()
}
