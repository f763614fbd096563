//! Measures Orders on a database that may be emptied; `cargo xtask bench` provides it and the programs.

mod bench;
mod cpu;
mod figures;
mod load;
mod machine;
mod output;
mod plot;
mod programs;
mod report;
mod seed;
mod server;
mod service;
mod shapes;
mod sizes;
mod sysbench;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use orders_bench::http;

use crate::bench::Bench;
use crate::output::say;
use crate::programs::Programs;
use crate::report::{Report, Run};
use crate::shapes::Shape;
use crate::sizes::Sizes;

/// Measures Orders, and compares each figure with what the database server can do.
#[derive(Parser)]
struct Args {
    /// A durable database whose orders may be deleted
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// The program orders-api
    #[arg(long)]
    api: PathBuf,
    /// The program orders-worker
    #[arg(long)]
    worker: PathBuf,
    /// The folder for results.json and results.svg
    #[arg(long)]
    out: PathBuf,
    /// The id of the database server's process, if it runs on this machine
    #[arg(long)]
    server_pid: Option<u32>,
    /// Small tables and short loads: three minutes for all
    #[arg(long)]
    quick: bool,
    /// Measure only this; may be given several times
    #[arg(long, value_enum)]
    only: Vec<Shape>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let pool = server::connect(&args.database_url).await?;
    server::check_durable(&pool).await?;
    let programs = Programs::new(args.api, args.worker, args.database_url.clone());
    let sizes = if args.quick { Sizes::QUICK } else { Sizes::FULL };
    let bench = Bench { url: args.database_url, pool, server_pid: args.server_pid, programs, sizes };
    let shapes = if args.only.is_empty() { Shape::usual() } else { args.only };

    let (date, server) = server::date_and_version(&bench.pool).await?;
    let mut report =
        Report::new(Run { date, server, machine: machine::name()?, load: machine::load()?, quick: args.quick });
    seed::prepare(&bench.pool).await?;
    sysbench::prepare(&bench.url)?;
    report.r0(sysbench::transactions_per_second(&bench.url, sizes.r0)?);
    let mut failed = Vec::new();
    for shape in shapes {
        say(format_args!("== {}", shape.name()));
        // The figures of the other shapes are still worth having.
        if let Err(error) = shape.measure(&bench, &mut report).await {
            say(format_args!("   not measured: {error:#}"));
            failed.push(shape.name());
        }
    }
    report.r0(sysbench::transactions_per_second(&bench.url, sizes.r0)?);
    report.memory(&bench.programs);

    say(report.table());
    std::fs::create_dir_all(&args.out)?;
    for (name, text) in [("results.json", report.json()), ("results.svg", plot::svg(&report))] {
        let path = args.out.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        say(format_args!("== written: {}", path.display()));
    }
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}
