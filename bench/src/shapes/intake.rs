use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::cpu::{Meter, Shares};
use crate::figures::quotient;
use crate::http::post;
use crate::report::{Report, Target};
use crate::{load, seed};

/// The order in the project's brief.
pub(super) const ORDER: &str = r#"{"user_id": 1, "item_ids": [1, 2], "total_amount": 100.0}"#;

/// Orders of one batch, as the target is defined.
const BATCH: usize = 100;

/// Items of a large order, as the shape is defined.
const ITEMS: i64 = 100;

pub(super) async fn single(bench: &Bench, report: &mut Report) -> Result<()> {
    let request = post("/order/create-order", ORDER);
    let (rate, cpu) = intake(bench, request, 1).await?;
    report.rate("intake: POST /order/create-order", rate, Target::AtLeast(4.0));
    report.cpu("intake", cpu);
    Ok(())
}

pub(super) async fn batches(bench: &Bench, report: &mut Report) -> Result<()> {
    let body = format!(r#"{{"orders": [{}]}}"#, vec![ORDER; BATCH].join(","));
    let (rate, cpu) = intake(bench, post("/orders/batch", &body), BATCH as u64).await?;
    report.rate("batch intake: POST /orders/batch of 100", rate, Target::AtLeast(8.0));
    report.cpu("batch intake", cpu);
    Ok(())
}

pub(super) async fn many_items(bench: &Bench, report: &mut Report) -> Result<()> {
    let items: Vec<_> = (1..=ITEMS).collect();
    let body = format!(r#"{{"user_id": 1, "item_ids": {items:?}, "total_amount": 100.0}}"#);
    let (rate, _) = intake(bench, post("/order/create-order", &body), 1).await?;
    report.rate("intake of orders with 100 items", rate, Target::None);
    Ok(())
}

/// Orders a second that the API takes, each found in the database afterwards, and the processor time of each.
async fn intake(bench: &Bench, request: Vec<u8>, orders: u64) -> Result<(f64, Shares)> {
    seed::clear(&bench.pool).await?;
    let api = bench.programs.api().await?;
    let meter = Meter::start(bench, std::slice::from_ref(&api));
    let load = load::closed(api.address, request, 201, bench.sizes.load, load::no_limit()).await?;
    let answered = load.answered * orders;
    let cpu = meter.shares(answered);
    drop(api);
    let stored: i64 = sqlx::query_scalar("select count(*) from orders").fetch_one(&bench.pool).await?;
    ensure!(u64::try_from(stored)? == answered, "{answered} orders were answered with 201, and {stored} are stored");
    Ok((load.rate() * quotient(orders, 1.0), cpu))
}
