//! R0: how many transactions a second the database server alone can do.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::mysql::MySqlConnectOptions;

/// As the targets are defined.
const THREADS: u32 = 64;

/// Creates the table for the inserts anew.
pub(crate) fn prepare(url: &str) -> Result<()> {
    sysbench(url, &["cleanup"])?;
    sysbench(url, &["prepare"]).map(drop)
}

/// Durable single-row transactions a second by [`THREADS`] connections.
pub(crate) fn transactions_per_second(url: &str, during: Duration) -> Result<f64> {
    let (threads, time) = (format!("--threads={THREADS}"), format!("--time={}", during.as_secs()));
    let output = sysbench(url, &[&threads, &time, "run"])?;
    let rate =
        |line: &str| line.trim().strip_prefix("transactions:")?.split_once('(')?.1.split(' ').next()?.parse().ok();
    output.lines().find_map(rate).context("sysbench reported no transactions a second")
}

fn sysbench(url: &str, arguments: &[&str]) -> Result<String> {
    let options: MySqlConnectOptions = url.parse()?;
    let url = url.strip_prefix("mysql://").context("the database's URL does not start with mysql://")?;
    let (user, password) = url.rsplit_once('@').and_then(|(login, _)| login.split_once(':')).unwrap_or_default();
    let output = Command::new("sysbench")
        .args(["oltp_insert", "--db-driver=mysql"])
        .arg(format!("--mysql-host={}", options.get_host()))
        .arg(format!("--mysql-port={}", options.get_port()))
        .arg(format!("--mysql-db={}", options.get_database().unwrap_or_default()))
        .arg(format!("--mysql-user={user}"))
        .arg(format!("--mysql-password={password}"))
        .args(arguments)
        .output()
        .context("cannot run sysbench")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let why = text.lines().find(|line| line.contains("FATAL")).unwrap_or("no reason given");
        bail!("sysbench failed: {why}");
    }
    Ok(text)
}
