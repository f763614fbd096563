use anyhow::Result;

use super::drain;
use super::latency::at;
use crate::bench::Bench;
use crate::http::get;
use crate::report::{Base, Report, Target};
use crate::seed::Orders;
use crate::{load, seed, server};

/// Finished orders of the small table.
const SMALL: u64 = 1_000;

/// Orders that are read by their ids, anywhere in the table.
const SAMPLE: u32 = 500;

/// How much more the large table may cost.
const ALLOWED: f64 = 1.2;

/// Milliseconds of reads, and orders a second that are claimed and completed.
struct Costs {
    livez: f64,
    reads: [(&'static str, f64); 4],
    /// Microseconds a request when many connections ask for `/livez`, and for `/metrics`.
    crowd: [f64; 2],
    claims: f64,
}

pub(super) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    // Twice as many as are claimed, so that claims never see the end of the queue.
    let small = costs(bench, SMALL, bench.sizes.claimed * 2).await?;
    let large = costs(bench, bench.sizes.finished, bench.sizes.waiting).await?;
    report.add("GET /livez, one connection", large.livez, "ms", Base::None, Target::None);
    for ((name, small), (_, large)) in small.reads.into_iter().zip(large.reads) {
        report.add(format!("{name}, small table"), small, "ms", Base::None, Target::None);
        let base = Base::Figure("small", small);
        report.add(format!("{name}, large table"), large, "ms", base, Target::AtMost(ALLOWED));
    }
    let [livez, metrics] = large.crowd;
    report.add("GET /livez, 256 connections", livez, "µs/request", Base::None, Target::None);
    let base = Base::Figure("/livez", livez);
    report.add("GET /metrics, 256 connections, large table", metrics, "µs/request", base, Target::AtMost(3.0));
    report.rate("claim and complete, small table", small.claims, Target::None);
    let base = Base::Figure("small", small.claims);
    report.add("claim and complete, large table", large.claims, "orders/s", base, Target::AtLeast(1.0 / ALLOWED));
    Ok(())
}

async fn costs(bench: &Bench, finished: u64, waiting: u64) -> Result<Costs> {
    seed::clear(&bench.pool).await?;
    seed::add(&bench.url, Orders::Finished, finished).await?;
    seed::add(&bench.url, Orders::Waiting, waiting).await?;
    let ids = seed::sample(&bench.pool, SAMPLE).await?;
    server::wait_until_pages_are_written(&bench.pool).await?;

    let api = bench.programs.api().await?;
    let mut connection = api.connect().await?;
    let mut p50 = async |requests: Vec<Vec<u8>>| -> Result<f64> {
        let answered = load::one_by_one(&mut connection, &requests, bench.sizes.load / 4).await?;
        // A rejected request counts as endless: the API gives up on what takes too long.
        Ok(answered.map_or(f64::INFINITY, |latencies| at(&latencies, 0.5)))
    };
    let livez = p50(vec![get("/livez")]).await?;
    let by_id = ids.iter().map(|id| get(&format!("/orders/{id}"))).collect();
    let reads = [
        ("GET /order/status/completed", p50(vec![get("/order/status/completed")]).await?),
        ("GET /orders", p50(vec![get("/orders")]).await?),
        ("GET /orders/{id}", p50(by_id).await?),
        ("GET /metrics", p50(vec![get("/metrics")]).await?),
    ];
    let mut crowd = [0.0; 2];
    for (path, cost) in ["/livez", "/metrics"].into_iter().zip(&mut crowd) {
        let load = load::closed(api.address, get(path), 200, bench.sizes.load / 4, load::no_limit()).await?;
        *cost = 1e6 / load.rate();
    }
    drop(api);
    let (claims, _) = drain::rate(bench, 1, bench.sizes.claimed).await?;
    Ok(Costs { livez, reads, crowd, claims })
}
