//! Tables as they look after long use.

use anyhow::Result;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, MySqlPool};
use uuid::Uuid;

/// Rows that one statement inserts, and rows of the table of numbers that it makes them from.
const CHUNK: u64 = 10_000;

/// A kind of orders, one for each millisecond of the past.
#[derive(Clone, Copy)]
pub(crate) enum Orders {
    /// Completed, and older than all other kinds.
    Finished,
    /// Scheduled for tomorrow, and older than those that are due.
    Future,
    /// Due.
    Waiting,
}

impl Orders {
    /// How long before midnight the first was placed: room for ten million before the next kind.
    const fn hours_before(self) -> u64 {
        match self {
            Self::Finished => 6,
            Self::Future => 3,
            Self::Waiting => 2,
        }
    }

    /// The columns that the status asks for: status, attempt, `available_at`, `claimed_at` and `updated_at`.
    const fn columns(self) -> &'static str {
        match self {
            Self::Finished => "'COMPLETED', 1, '9999-12-31', at, at + interval 5000 microsecond",
            Self::Future => "'PENDING', 0, now(6) + interval 1 day, '9999-12-31', at",
            Self::Waiting => "'PENDING', 0, at, '9999-12-31', at",
        }
    }

    /// What `order_counts` holds for so many of them: pending, completed, and microseconds of processing.
    const fn counts(self, orders: u64) -> (u64, u64, u64) {
        match self {
            Self::Finished => (0, orders, orders * 5_000),
            Self::Future | Self::Waiting => (orders, 0, 0),
        }
    }
}

/// Makes the table of numbers.
pub(crate) async fn prepare(pool: &MySqlPool) -> Result<()> {
    pool.execute("create table if not exists bench_numbers (n int not null primary key)").await?;
    let numbers = "
        insert ignore into bench_numbers
        with recursive numbers as (select 0 as n union all select n + 1 from numbers where n < 99)
        select a.n + 100 * b.n from numbers as a, numbers as b
    ";
    pool.execute(numbers).await?;
    Ok(())
}

/// Empties every table that grows.
pub(crate) async fn clear(pool: &MySqlPool) -> Result<()> {
    for table in ["orders", "claims", "order_counts", "order_events", "idempotency_keys", "external_ids", "workers"] {
        pool.execute(AssertSqlSafe(format!("truncate table {table}"))).await?;
    }
    Ok(())
}

/// Adds orders of a kind, at most once for each kind. The binary log is off, as it would only fill the disk.
pub(crate) async fn add(url: &str, orders: Orders, count: u64) -> Result<()> {
    let mut connection = MySqlConnection::connect(url).await?;
    connection.execute("set session sql_log_bin = 0").await?;
    let columns = orders.columns();
    let sql = format!(
        "insert into orders (
            order_id, user_id, item_ids, total_amount, created_at,
            status, attempt, available_at, claimed_at, updated_at
        )
        select
            unhex(concat(lpad(hex(ms), 12, '0'), '7000', '8', left(sha2(ms, 256), 15))),
            1 + ms % 1000, '[1, 2]', 100, at, {columns}
        from (
            select ms, from_unixtime(ms / 1000) as at
            from (
                select floor(unix_timestamp(current_date) * 1000) - ? + n as ms
                from bench_numbers
                where n < ?
            ) as moments
        ) as timed"
    );
    for first in (0..count).step_by(usize::try_from(CHUNK)?) {
        let before = (orders.hours_before() * 3_600_000).saturating_sub(first);
        let rows = CHUNK.min(count - first);
        sqlx::query(AssertSqlSafe(sql.as_str())).bind(before).bind(rows).execute(&mut connection).await?;
    }
    let (pending, completed, processing_us) = orders.counts(count);
    // The programs count in lower shards.
    let counts = "
        insert into order_counts (shard, pending, processing, completed, failed, canceled, processing_us)
        values (?, ?, 0, ?, 0, 0, ?)
    ";
    let shard = 100 + orders as u8;
    sqlx::query(counts).bind(shard).bind(pending).bind(completed).bind(processing_us).execute(&mut connection).await?;
    connection.execute("analyze table orders").await?;
    connection.close().await?;
    Ok(())
}

/// Ids of orders from anywhere in the table.
pub(crate) async fn sample(pool: &MySqlPool, count: u32) -> Result<Vec<Uuid>> {
    let mut ids = Vec::new();
    for n in 0..count {
        // The table's ids are times; between the first and the last, so far along.
        let sql = "
            select order_id from orders
            where order_id >= (
                select unhex(rpad(lpad(hex(first + floor((last - first) * ? / ?)), 12, '0'), 32, '0'))
                from (
                    select conv(hex(left(min(order_id), 6)), 16, 10) + 0 as first,
                        conv(hex(left(max(order_id), 6)), 16, 10) + 0 as last
                    from orders
                ) as ends
            )
            order by order_id
            limit 1
        ";
        ids.push(sqlx::query_scalar(sql).bind(n).bind(count).fetch_one(pool).await?);
    }
    Ok(ids)
}
