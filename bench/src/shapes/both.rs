use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::Executor;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::intake::ORDER;
use crate::bench::Bench;
use crate::cpu::{Meter, Shares};
use crate::figures::quotient;
use crate::http::post;
use crate::programs::completed;
use crate::report::{Base, Report, Target};
use crate::{load, seed, server};

/// Orders that may be placed and not completed; beyond it, clients wait. So the backlog cannot grow, and the figure is
/// what the system keeps up with. Room for the largest claims and for each client's next order.
const BACKLOG_MAX: u64 = 5_000;

/// Between two polls of what is completed.
const POLL: Duration = Duration::from_millis(20);

/// The backlog takes seconds to complete.
const LAST_WITHIN: Duration = Duration::from_mins(1);

/// The parts of the time whose rates are compared: a slowdown shows in the last.
const PARTS: u32 = 6;

pub(super) async fn plain(bench: &Bench, report: &mut Report) -> Result<()> {
    seed::clear(&bench.pool).await?;
    let (commits, bytes) = (server::commits(&bench.pool).await?, server::binlog_bytes(&bench.pool).await?);
    let Sustained { orders, rates, cpu } = keep_up(bench).await?;
    let commits = server::commits(&bench.pool).await? - commits;
    let bytes = server::binlog_bytes(&bench.pool).await? - bytes;
    report.rate("both at once: completed while as many are placed", mean(&rates), Target::AtLeast(1.5));
    report.cpu("both at once", cpu);
    let commits = quotient(u64::try_from(commits)?, quotient(orders, 1.0));
    report.add("commits an order, POST to COMPLETED", commits, "commits", Base::None, Target::AtMost(0.03));
    report.add("binary log an order", quotient(bytes, quotient(orders, 1.0)), "bytes", Base::None, Target::None);
    Ok(())
}

pub(super) async fn beside_a_view(bench: &Bench, report: &mut Report) -> Result<()> {
    seed::clear(&bench.pool).await?;
    let mut view = bench.pool.acquire().await?;
    view.execute("set session transaction isolation level repeatable read").await?;
    view.execute("start transaction with consistent snapshot").await?;
    let Sustained { rates, .. } = keep_up(bench).await?;
    // This connection must not go back into the pool.
    view.close().await?;
    report.rate("both at once, beside an open read view", mean(&rates), Target::None);
    let (first, last) = (rates.first().copied().unwrap_or_default(), rates.last().copied().unwrap_or_default());
    let base = Base::Figure("its first sixth", first);
    report.add("the last sixth of that", last, "orders/s", base, Target::None);
    Ok(())
}

/// What a system sustained under load.
struct Sustained {
    orders: u64,
    /// Orders a second that were completed in each part of the time.
    rates: Vec<f64>,
    cpu: Shares,
}

/// Places as many orders as one worker completes.
async fn keep_up(bench: &Bench) -> Result<Sustained> {
    let programs = [bench.programs.api().await?, bench.programs.worker().await?];
    let [api, worker] = &programs;
    let mut connection = worker.connect().await?;
    let meter = Meter::start(bench, &programs);
    let room = Arc::new(Semaphore::new(usize::try_from(BACKLOG_MAX)?));
    let request = post("/order/create-order", ORDER);
    let load = tokio::spawn(load::closed(api.address, request, 201, bench.sizes.both, Arc::clone(&room)));
    let (mut rates, mut done) = (Vec::new(), 0);
    for _ in 0..PARTS {
        let (started, before) = (Instant::now(), done);
        while started.elapsed() < bench.sizes.both / PARTS {
            tokio::time::sleep(POLL).await;
            let now = completed(&mut connection).await?;
            room.add_permits(usize::try_from(now - done)?);
            done = now;
        }
        rates.push(quotient(done - before, started.elapsed().as_secs_f64()));
    }
    // Clients no longer need to wait for room.
    room.close();
    let orders = load.await??.answered;
    let last = async {
        while completed(&mut connection).await? < orders {
            tokio::time::sleep(POLL).await;
        }
        anyhow::Ok(())
    };
    timeout(LAST_WITHIN, last).await.context("the last orders were not completed")??;
    let cpu = meter.shares(orders);
    Ok(Sustained { orders, rates, cpu })
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / f64::from(PARTS)
}
