//! `cargo xtask bench`: how fast Orders is, on a database of its own that goes with the run.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use xtask::interrupt::Interrupt;
use xtask::output::say;
use xtask::process::{Process, describe_exit};
use xtask::servers::{Choice, Purpose, Source, install};

use crate::binaries::Binaries;
use crate::checkout::Checkout;
use crate::database::Database;
use crate::test::run_dir::RunDir;
use crate::up::programs::migrate;

/// The arguments of `bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the database comes from; `DATABASE_URL` is not used, because the run empties its tables
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    database: Choice,
    /// Small tables and short loads: all in three minutes
    #[arg(long)]
    quick: bool,
    /// Measure only this, such as `intake`; may be given several times
    #[arg(long, value_name = "SHAPE")]
    only: Vec<String>,
    /// Measure only how long orders take beside a stranger who attacks both programs, as `--only stranger`
    #[arg(long)]
    stranger: bool,
}

/// Builds the programs, starts a database, and has `orders-bench` measure them.
pub(crate) fn run(args: &Args, checkout: &Checkout, interrupt: &Interrupt) -> Result<ExitCode> {
    provide_sysbench(interrupt)?;
    let source = Source::find(args.database, "", interrupt)?;
    let binaries = Binaries::build_optimised(checkout, interrupt)?;
    let bench = Binaries::build_bench(checkout, interrupt)?;
    let run_dir = RunDir::create(checkout, interrupt)?;
    let database = Database::start(source, Purpose::Bench, run_dir.name_container()?, run_dir.data(), interrupt)?;
    migrate(&binaries, run_dir.data(), &database, interrupt)?;

    let mut command = Command::new(bench);
    command.env("DATABASE_URL", database.url()).arg("--api").arg(&binaries.api).arg("--worker").arg(&binaries.worker);
    command.args(database.pid()?.map(|pid| format!("--server-pid={pid}")));
    command.arg("--out").arg(checkout.target().join("bench"));
    command.args(args.quick.then_some("--quick")).args(args.only.iter().flat_map(|shape| ["--only", shape]));
    command.args(args.stranger.then_some(["--only", "stranger"]).into_iter().flatten());
    // The programs that it starts are in its process group and end with it.
    let status = Process::start("orders-bench", run_dir.mark(&mut command))?.wait(interrupt)?;
    if !status.success() {
        bail!("orders-bench {}", describe_exit(status));
    }
    say("== measured");
    Ok(ExitCode::SUCCESS)
}

/// Installs sysbench where it is missing and the user may.
fn provide_sysbench(interrupt: &Interrupt) -> Result<()> {
    if install::is_there("sysbench") {
        return Ok(());
    }
    if !install::is_allowed(interrupt)? {
        bail!("sysbench is missing: install it, as each figure is compared with what it measures of the server alone");
    }
    install::packages(&["sysbench"], interrupt)
}
