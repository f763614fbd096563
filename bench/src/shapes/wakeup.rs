use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use super::intake::ORDER;
use super::latency::at;
use crate::bench::Bench;
use crate::figures::quotient;
use crate::http::post;
use crate::report::{Base, Report, Target};
use crate::{seed, server};

/// Pause between two orders: a prime number of milliseconds, so that orders fall anywhere between two polls.
const PAUSE: Duration = Duration::from_millis(83);

/// A worker is not idle in its first second.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Microseconds from each order's creation to its claim.
const WAITS: &str = "
    select timestampdiff(microsecond, created_at, claimed_at) from orders where claimed_at < '9999-12-31'
";

pub(super) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    seed::clear(&bench.pool).await?;
    let worker = bench.programs.worker().await?;
    tokio::time::sleep(IDLE_AFTER).await;
    let mut connection = bench.pool.acquire().await?;
    let before = server::questions(&mut connection).await?;
    tokio::time::sleep(bench.sizes.idle).await;
    // The server counts this statement before it answers it.
    let questions = server::questions(&mut connection).await?.saturating_sub(before + 1);
    let rate = quotient(questions, bench.sizes.idle.as_secs_f64());
    report.add("queries of an idle worker", rate, "1/s", Base::None, Target::AtMost(25.0));

    let api = bench.programs.api().await?;
    let mut connection = api.connect().await?;
    let request = post("/order/create-order", ORDER);
    for _ in 0..bench.sizes.wakeups {
        tokio::time::sleep(PAUSE).await;
        ensure!(connection.ask(&request).await? == 201, "an order was not placed");
    }
    tokio::time::sleep(IDLE_AFTER).await;
    drop((api, worker));
    let waits: Vec<i64> = sqlx::query_scalar(WAITS).fetch_all(&bench.pool).await?;
    ensure!(waits.len() == usize::try_from(bench.sizes.wakeups)?, "only {} orders were claimed", waits.len());
    let mut all = Histogram::<u64>::new(3)?;
    for wait in waits {
        all.record(u64::try_from(wait)?)?;
    }
    report.add("wake-up: created to claimed, p50", at(&all, 0.5), "ms", Base::None, Target::AtMost(5.0));
    report.add("wake-up: created to claimed, p99", at(&all, 0.99), "ms", Base::None, Target::AtMost(25.0));
    Ok(())
}
