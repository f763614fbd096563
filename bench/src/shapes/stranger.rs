use anyhow::Result;
use orders_bench::stranger::{Stranger, Targets};
use sqlx::Executor;

use super::intake::ORDER;
use super::latency::at;
use crate::bench::Bench;
use crate::figures::quotient;
use crate::http::post;
use crate::load::{self, Arrivals};
use crate::output::say;
use crate::report::{Base, Report, Target};
use crate::seed::{self, Orders};

/// Creates a second of the others: hardly a load by itself.
const PER_SECOND: u32 = 50;

/// Orders that the stranger reads: they fill many of the largest pages.
const HEAVY: u64 = 200;

/// Makes each order as large as it may be: 1,000 items of 19 digits, 16 KiB of metadata.
const MAKE_HEAVY: &str = "
    update orders
    set metadata = json_object('a', repeat('x', 16000)),
        item_ids = concat('[', repeat('9223372036854775807, ', 999), '1]')
";

/// Memory of the API under any load.
const API_MIB_MAX: f64 = 256.0;

pub(super) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    seed::clear(&bench.pool).await?;
    seed::add(&bench.url, Orders::Finished, HEAVY).await?;
    bench.pool.execute(MAKE_HEAVY).await?;
    seed::add(&bench.url, Orders::Future, 1).await?;
    let waiting =
        sqlx::query_scalar("select order_id from orders where status = 'PENDING'").fetch_one(&bench.pool).await?;
    let (api, worker) = (bench.programs.api().await?.apart(), bench.programs.worker().await?.apart());

    let targets = Targets { api: api.address, worker: worker.address, waiting };
    let stranger = Stranger::start(targets, bench.sizes.stranger)?;
    let request = post("/order/create-order", ORDER);
    let Arrivals { latencies, failures } = load::arrivals(api.address, &request, PER_SECOND, bench.sizes.stranger)?;
    for (attack, turns) in stranger.stop() {
        say(format_args!("   {attack} came through {turns} times"));
    }

    for failure in &failures {
        say(format_args!("   {failure}"));
    }
    let target = |most| (Base::None, Target::AtMost(most));
    let mut add = |name, value, unit, (base, target)| report.add(name, value, unit, base, target);
    add("create beside a stranger, p50", at(&latencies, 0.5), "ms", (Base::None, Target::None));
    add("create beside a stranger, p99", at(&latencies, 0.99), "ms", target(250.0));
    add("create beside a stranger, worst", at(&latencies, 1.0), "ms", (Base::None, Target::None));
    add("creates beside a stranger, not 201", quotient(failures.len() as u64, 1.0), "", target(0.0));
    let memory = quotient(api.peak_bytes().unwrap_or_default(), 1024.0 * 1024.0);
    add("memory of orders-api beside a stranger", memory, "MiB", target(API_MIB_MAX));
    Ok(())
}
