use anyhow::Result;
use hdrhistogram::Histogram;

use super::intake::ORDER;
use super::naive;
use crate::bench::Bench;
use crate::cpu::Meter;
use crate::figures::quotient;
use crate::http::post;
use crate::report::{Base, Report, Target};
use crate::{load, seed};

/// Arrivals a second, as the target is defined.
const PER_SECOND: u32 = 1_000;

pub(super) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    seed::clear(&bench.pool).await?;
    let insert = naive::insert_latency(bench).await?;
    let insert = at(&insert, 0.5);
    report.add("one durable insert at one connection, p50", insert, "ms", Base::None, Target::None);
    seed::clear(&bench.pool).await?;
    let programs = [bench.programs.api().await?, bench.programs.worker().await?];
    let [api, _] = &programs;
    let meter = Meter::start(bench, &programs);
    let created = load::open(api.address, &post("/order/create-order", ORDER), PER_SECOND, bench.sizes.latency)?;
    let cpu = meter.shares(created.len());
    let base = Base::Figure("the insert", insert);
    report.add("create at 1,000/s, p50", at(&created, 0.5), "ms", base, Target::AtMost(2.0));
    report.add("create at 1,000/s, p99", at(&created, 0.99), "ms", base, Target::AtMost(6.0));
    report.cpu("create at 1,000/s", cpu);
    Ok(())
}

/// Milliseconds at a quantile of microseconds.
pub(super) fn at(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    quotient(latencies.value_at_quantile(quantile), 1000.0)
}
