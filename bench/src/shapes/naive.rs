//! What an order costs without the techniques of this design, and what batches alone bring: plain SQL on the same
//! table, with no HTTP and no programs in between.

use std::time::Instant;

use anyhow::Result;
use hdrhistogram::Histogram;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::bench::Bench;
use crate::figures::quotient;
use crate::load::micros;
use crate::report::{Report, Target};
use crate::seed::Orders;
use crate::{seed, server};

/// Connections that insert order by order: as many as R0 has.
const INSERTERS: u32 = 64;

/// Connections that claim and complete order by order.
const CLAIMERS: u32 = 16;

/// Orders of a batch, and connections with batches: those of the programs.
const BATCH: usize = 500;
const BATCH_INSERTERS: u32 = 2;
const BATCH_CLAIMERS: u32 = 1;

pub(super) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    for (name, connections, step) in [
        ("naive: insert one order a commit, 64 connections", INSERTERS, Step::Insert(1)),
        ("SQL alone: insert 500 orders a commit, 2 connections", BATCH_INSERTERS, Step::Insert(BATCH)),
        ("naive: claim and complete one order, 16 connections", CLAIMERS, Step::Finish(1)),
        ("SQL alone: claim and complete 500 orders, 1 connection", BATCH_CLAIMERS, Step::Finish(BATCH)),
    ] {
        seed::clear(&bench.pool).await?;
        if matches!(step, Step::Finish(_)) {
            seed::add(&bench.url, Orders::Waiting, bench.sizes.drained).await?;
        }
        report.rate(name, repeat(bench, connections, step).await?, Target::None);
    }
    Ok(())
}

/// What is repeated, with so many orders at a time.
#[derive(Clone, Copy)]
enum Step {
    Insert(usize),
    /// Claim and complete.
    Finish(usize),
}

impl Step {
    async fn run(self, connection: &mut MySqlConnection) -> Result<u64> {
        match self {
            Self::Insert(batch) => insert(connection, batch).await,
            Self::Finish(batch) => claim_and_complete(connection, batch).await,
        }
    }
}

/// Microseconds of single inserts, one after the other.
pub(super) async fn insert_latency(bench: &Bench) -> Result<Histogram<u64>> {
    let mut connection = bench.pool.acquire().await?;
    let mut latencies = Histogram::new(3)?;
    let started = Instant::now();
    while started.elapsed() < bench.sizes.load / 3 {
        let sent = Instant::now();
        insert(&mut connection, 1).await?;
        latencies.record(micros(sent.elapsed()))?;
    }
    Ok(latencies)
}

async fn insert(connection: &mut MySqlConnection, batch: usize) -> Result<u64> {
    let row = || format!("(unhex('{}'), 1, '[1, 2]', 100.0)", Uuid::now_v7().simple());
    let rows: Vec<_> = std::iter::repeat_with(row).take(batch).collect();
    let sql = format!("insert into orders (order_id, user_id, item_ids, total_amount) values {}", rows.join(","));
    Ok(sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?.rows_affected())
}

async fn claim_and_complete(connection: &mut MySqlConnection, batch: usize) -> Result<u64> {
    let token = Uuid::now_v7().simple();
    let mut transaction = connection.begin().await?;
    let lock = format!(
        "select order_id from orders force index (orders_by_status)
        where listed_as = 'PENDING' and available_at <= now(6)
        order by available_at, created_at, order_id
        limit {batch}
        for update skip locked"
    );
    let ids: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(lock)).fetch_all(&mut *transaction).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let ids: Vec<_> = ids.iter().map(|id| format!("unhex('{}')", id.simple())).collect();
    let ids = ids.join(",");
    let claim = format!(
        "update orders
        set status = 'PROCESSING', attempt = attempt + 1, available_at = '9999-12-31',
            claim_token = unhex('{token}'), claimed_at = now(6), updated_at = now(6)
        where order_id in ({ids})"
    );
    transaction.execute(sqlx::raw_sql(AssertSqlSafe(claim))).await?;
    transaction.commit().await?;
    let complete = format!(
        "update orders
        set status = 'COMPLETED', updated_at = now(6)
        where order_id in ({ids}) and claim_token = unhex('{token}')"
    );
    Ok(connection.execute(sqlx::raw_sql(AssertSqlSafe(complete))).await?.rows_affected())
}

/// Repeats `step` on each of so many connections until the time is over or there is nothing left, and returns the
/// orders of a second.
async fn repeat(bench: &Bench, connections: u32, step: Step) -> Result<f64> {
    let pool = server::pool(&bench.url, connections).await?;
    let (started, during) = (Instant::now(), bench.sizes.load);
    let mut loops = JoinSet::new();
    for _ in 0..connections {
        let mut connection = pool.acquire().await?;
        loops.spawn(async move {
            let mut orders = 0;
            while started.elapsed() < during {
                match step.run(&mut connection).await? {
                    0 => break,
                    more => orders += more,
                }
            }
            anyhow::Ok(orders)
        });
    }
    let mut orders = 0;
    while let Some(done) = loops.join_next().await {
        orders += done??;
    }
    let rate = quotient(orders, started.elapsed().as_secs_f64());
    pool.close().await;
    Ok(rate)
}
