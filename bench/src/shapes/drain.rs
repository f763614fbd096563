use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::bench::Bench;
use crate::cpu::{Meter, Shares};
use crate::figures::quotient;
use crate::programs::{Program, completed};
use crate::report::{Report, Target};
use crate::seed;
use crate::seed::Orders;
use crate::service;

/// Between two polls of what is completed. Each costs the worker a moment; the drain takes seconds.
const POLL: Duration = Duration::from_millis(20);

/// A drain takes half a minute; one that makes no progress for so long has failed.
const STALLED_AFTER: Duration = Duration::from_secs(30);

pub(super) async fn one_worker(bench: &Bench, report: &mut Report) -> Result<()> {
    let (rate, cpu) = drain(bench, 0, 1).await?;
    report.rate("drain: claim and complete, one worker", rate, Target::AtLeast(4.0));
    report.cpu("drain", cpu);
    Ok(())
}

pub(super) async fn behind_future(bench: &Bench, report: &mut Report) -> Result<()> {
    let (rate, _) = drain(bench, bench.sizes.future, 1).await?;
    report.rate("drain behind orders scheduled for later", rate, Target::None);
    Ok(())
}

pub(super) async fn four_workers(bench: &Bench, report: &mut Report) -> Result<()> {
    let (rate, _) = drain(bench, 0, 4).await?;
    report.rate("drain by four workers", rate, Target::None);
    Ok(())
}

pub(super) async fn pushed(bench: &Bench, report: &mut Report) -> Result<()> {
    seed::clear(&bench.pool).await?;
    seed::add(&bench.url, Orders::Waiting, bench.sizes.pushed).await?;
    let service = service::start().await?;
    let worker = bench.programs.pushing_worker(service).await?;
    let (rate, cpu) = rate_of(bench, vec![worker], bench.sizes.pushed).await?;
    report.rate("drain: push to a service and complete", rate, Target::None);
    report.cpu("push", cpu);
    Ok(())
}

async fn drain(bench: &Bench, future: u64, workers: usize) -> Result<(f64, Shares)> {
    seed::clear(&bench.pool).await?;
    seed::add(&bench.url, Orders::Future, future).await?;
    seed::add(&bench.url, Orders::Waiting, bench.sizes.drained).await?;
    rate(bench, workers, bench.sizes.drained).await
}

/// Orders a second that workers complete, from the first to number `count`, and the processor time of each.
pub(super) async fn rate(bench: &Bench, workers: usize, count: u64) -> Result<(f64, Shares)> {
    let mut running: Vec<Program> = Vec::new();
    for _ in 0..workers {
        running.push(bench.programs.worker().await?);
    }
    rate_of(bench, running, count).await
}

/// Orders a second that these workers complete, and the processor time of each.
async fn rate_of(bench: &Bench, running: Vec<Program>, count: u64) -> Result<(f64, Shares)> {
    let mut connections = Vec::new();
    for worker in &running {
        connections.push(worker.connect().await?);
    }
    let meter = Meter::start(bench, &running);
    let (mut first, mut last) = (None, (Instant::now(), 0));
    while last.1 < count {
        tokio::time::sleep(POLL).await;
        let mut done = 0;
        for connection in &mut connections {
            done += completed(connection).await?;
        }
        let now = Instant::now();
        if done > last.1 {
            last = (now, done);
            first = first.or(Some(last));
        } else if now - last.0 > STALLED_AFTER {
            bail!("the workers completed {done} of {count} orders, and then none for {} s", STALLED_AFTER.as_secs());
        }
    }
    let first = first.unwrap_or(last);
    Ok((quotient(last.1 - first.1, (last.0 - first.0).as_secs_f64()), meter.shares(last.1)))
}
