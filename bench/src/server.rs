//! The database server: whether it is durable, and what it has done.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::{Executor, MySqlConnection, MySqlPool};
use tokio::time::timeout;

/// For everything but the load.
const CONNECTIONS: u32 = 4;

/// An idle server keeps a few changed pages in memory, which it writes now and then.
const DIRTY_MAX: u64 = 100;

/// A full gigabyte of pages takes half a minute on a slow disk.
const SETTLED_WITHIN: Duration = Duration::from_mins(3);

/// Between two polls of them.
const POLL: Duration = Duration::from_millis(100);

pub(crate) async fn connect(url: &str) -> Result<MySqlPool> {
    pool(url, CONNECTIONS).await
}

/// Opens a pool with all of its connections, at READ COMMITTED as the programs' are.
pub(crate) async fn pool(url: &str, connections: u32) -> Result<MySqlPool> {
    let isolation = "set session transaction isolation level read committed";
    MySqlPoolOptions::new()
        .max_connections(connections)
        .min_connections(connections)
        .after_connect(move |connection, _| Box::pin(async move { connection.execute(isolation).await.map(drop) }))
        .connect(url)
        .await
        .context("cannot reach the database")
}

/// Rejects a server that may lose what it has committed: its figures could not be compared.
pub(crate) async fn check_durable(pool: &MySqlPool) -> Result<()> {
    for (setting, wanted) in [("sync_binlog", 1), ("innodb_flush_log_at_trx_commit", 1), ("log_bin", 1)] {
        let found = number(pool, format!("select cast(@@global.{setting} as signed)")).await?;
        if found != wanted {
            bail!("the database has {setting} = {found}; figures need {setting} = {wanted}");
        }
    }
    // Counts commits that write, on either server. It is off by default, and its cost cannot be measured.
    pool.execute("set global innodb_monitor_enable = 'trx_rw_commits'").await?;
    Ok(())
}

pub(crate) async fn date_and_version(pool: &MySqlPool) -> Result<(String, String)> {
    // MySQL's version does not contain its name.
    let sql = "
        select date_format(utc_timestamp(), '%Y-%m-%d %H:%i UTC'),
            concat(if(version() like '%MariaDB%', '', 'MySQL '), version())
    ";
    Ok(sqlx::query_as(sql).fetch_one(pool).await?)
}

/// How many transactions have been committed that wrote something.
pub(crate) async fn commits(pool: &MySqlPool) -> Result<i64> {
    let sql = "select cast(count as signed) from information_schema.innodb_metrics where name = 'trx_rw_commits'";
    number(pool, sql.to_owned()).await
}

/// Bytes of the whole binary log.
pub(crate) async fn binlog_bytes(pool: &MySqlPool) -> Result<u64> {
    use sqlx::Row;

    let files = pool.fetch_all("show binary logs").await?;
    files.iter().map(|file| Ok(file.try_get_unchecked::<u64, _>("File_size")?)).sum()
}

/// How many statements clients have sent so far.
pub(crate) async fn questions(connection: &mut MySqlConnection) -> Result<u64> {
    status(connection, "show global status like 'Questions'").await
}

/// Waits until the server has written the changed pages that it holds in memory. Otherwise it would still be writing a
/// new table while that is measured.
pub(crate) async fn wait_until_pages_are_written(pool: &MySqlPool) -> Result<()> {
    let mut connection = pool.acquire().await?;
    connection.execute("set global innodb_max_dirty_pages_pct = 0").await?;
    let settled = timeout(SETTLED_WITHIN, async {
        while status(&mut connection, "show global status like 'Innodb_buffer_pool_pages_dirty'").await? > DIRTY_MAX {
            tokio::time::sleep(POLL).await;
        }
        anyhow::Ok(())
    })
    .await;
    // Even if that failed: the shapes that follow are measured on a server that writes as it usually does.
    connection.execute("set global innodb_max_dirty_pages_pct = default").await?;
    settled.with_context(|| format!("the server has not written its pages within {SETTLED_WITHIN:?}"))?
}

async fn status(connection: &mut MySqlConnection, show: &'static str) -> Result<u64> {
    use sqlx::Row;

    let row = connection.fetch_one(show).await?;
    Ok(row.try_get_unchecked::<String, _>("Value")?.parse()?)
}

async fn number(pool: &MySqlPool, sql: String) -> Result<i64> {
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await?)
}
