//! Variables that every new session inherits from the server, and what the programs do in spite of them.

use std::fmt::Write;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use orders_tests::{Api, OwnServer, Worker, run};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, query_scalar, raw_sql};
use tokio::time::timeout;

use super::{doctor, wait_until_an_order_is_completed};
use crate::sample;

/// What an administrator may set for all sessions to come.
const ON_BOTH: [(&str, &str); 24] = [
    ("autocommit", "0"),
    ("sql_safe_updates", "1"),
    ("completion_type", "'CHAIN'"),
    ("completion_type", "'RELEASE'"),
    ("sql_mode", "'ANSI_QUOTES'"),
    ("sql_mode", "'PIPES_AS_CONCAT'"),
    ("sql_mode", "'NO_BACKSLASH_ESCAPES'"),
    ("sql_mode", "''"),
    ("sql_select_limit", "1"),
    ("foreign_key_checks", "0"),
    ("sql_auto_is_null", "1"),
    ("time_zone", "'-11:00'"),
    ("character_set_client", "'latin1'"),
    ("character_set_connection", "'latin1'"),
    ("character_set_results", "'latin1'"),
    ("collation_connection", "'latin1_swedish_ci'"),
    ("lock_wait_timeout", "1"),
    ("wait_timeout", "1"),
    ("net_read_timeout", "1"),
    ("net_write_timeout", "1"),
    ("group_concat_max_len", "4"),
    ("unique_checks", "0"),
    ("innodb_lock_wait_timeout", "1"),
    ("init_connect", "'set autocommit = 0'"),
];
const ON_MYSQL: [(&str, &str); 4] = [
    ("transaction_read_only", "1"),
    ("transaction_isolation", "'SERIALIZABLE'"),
    ("max_execution_time", "1"),
    ("range_optimizer_max_mem_size", "1"),
];
const ON_MARIADB: [(&str, &str); 4] = [
    ("tx_read_only", "1"),
    ("tx_isolation", "'SERIALIZABLE'"),
    ("max_statement_time", "0.0001"),
    ("check_constraint_checks", "0"),
];

/// A second or two on a quiet machine.
const WORKS_WITHIN: Duration = Duration::from_secs(15);

/// Those that change what the statements of a migration mean.
const FOR_MIGRATIONS: [(&str, &str); 9] = [
    ("autocommit", "0"),
    ("sql_safe_updates", "1"),
    ("completion_type", "'CHAIN'"),
    ("completion_type", "'RELEASE'"),
    ("sql_mode", "'ANSI_QUOTES'"),
    ("sql_mode", "'NO_BACKSLASH_ESCAPES'"),
    ("sql_select_limit", "1"),
    ("default_storage_engine", "MEMORY"),
    ("init_connect", "'set autocommit = 0'"),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_variable_that_a_session_inherits_changes_what_the_programs_do() {
    let server = OwnServer::start(&[]).await;
    let mut root = server.pool.acquire().await.unwrap();
    let own: &[_] = if server.is_mariadb().await { &ON_MARIADB } else { &ON_MYSQL };
    let mut faults = String::new();

    for (name, value) in ON_BOTH.iter().chain(own) {
        set(&mut root, name, value).await;
        if let Err(fault) = try_programs(&server, &mut root).await {
            writeln!(faults, "{name} = {value}: {fault}").unwrap();
        }
        unset(&mut root, name).await;
    }
    // A join is small only if it may read as many rows as two tables have at least.
    set(&mut root, "sql_big_selects", "0").await;
    set(&mut root, "max_join_size", "1").await;
    if let Err(fault) = try_programs(&server, &mut root).await {
        writeln!(faults, "max_join_size = 1: {fault}").unwrap();
    }

    assert!(faults.is_empty(), "\n{faults}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_variable_that_a_session_inherits_changes_what_migrations_do() {
    let server = OwnServer::start(&[]).await;
    let mut root = server.pool.acquire().await.unwrap();
    let mut faults = String::new();

    for (name, value) in FOR_MIGRATIONS {
        raw_sql("drop database orders; create database orders character set utf8mb4")
            .execute(&mut *root)
            .await
            .unwrap();
        set(&mut root, name, value).await;
        let migrated = run("orders-api", &["migrate"], &[("DATABASE_URL", &server.url)]).await;
        unset(&mut root, name).await;
        let (code, text) = doctor(&server.url).await;
        if !migrated.status.success() || code != Some(0) {
            let said = String::from_utf8_lossy(&migrated.stderr);
            writeln!(faults, "{name} = {value}: {}: {said}{text}", migrated.status).unwrap();
        }
    }

    assert!(faults.is_empty(), "\n{faults}");
}

/// Programs that start now place, complete, pause and resume, and the doctor has nothing to say.
async fn try_programs(server: &OwnServer, root: &mut MySqlConnection) -> Result<(), String> {
    let url = server.url.as_str();
    let (code, text) = doctor(url).await;
    let attempt = async {
        let api = Api::start(url, &[]).await;
        let worker = Worker::start(url, &[]).await;
        wait_until_an_order_is_completed(&api).await;
        assert_eq!(api.post("/queue/pause", "").await.status, 200);
        assert_eq!(pauses(root).await, 1, "the pause is committed");
        let waits = api.place(&sample::order()).await;
        assert_eq!(api.post("/queue/resume", "").await.status, 200);
        assert_eq!(pauses(root).await, 0, "the resumption is committed");
        server.wait_for_status(waits, "COMPLETED").await;
        worker.wait_until_ready().await;
    };
    let attempt = timeout(WORKS_WITHIN, caught(attempt));
    attempt.await.unwrap_or_else(|_| Err("an order, a pause or a resumption takes too long".to_owned()))?;
    if code == Some(0) { Ok(()) } else { Err(format!("the doctor says {text}")) }
}

/// The panic of an assertion as an error, so that the other rows are tried too.
async fn caught(attempt: impl Future<Output = ()>) -> Result<(), String> {
    let panic = AssertUnwindSafe(attempt).catch_unwind().await;
    panic.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
    })
}

async fn set(root: &mut MySqlConnection, name: &str, value: &str) {
    raw_sql(AssertSqlSafe(format!("set global {name} = {value}"))).execute(root).await.unwrap();
}

async fn unset(root: &mut MySqlConnection, name: &str) {
    let usual = match name {
        "init_connect" => "''",
        "time_zone" => "'SYSTEM'",
        "autocommit" => "1",
        _ => "default",
    };
    set(root, name, usual).await;
}

async fn pauses(root: &mut MySqlConnection) -> i64 {
    query_scalar("select count(*) from queue_pauses").fetch_one(root).await.unwrap()
}
