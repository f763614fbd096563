//! `cargo xtask chaos`: only the suite's test of random faults, for as long as the user likes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::ExitCode;

use anyhow::Result;
use xtask::interrupt::Interrupt;
use xtask::output::say;
use xtask::servers::{Choice, Source};

use super::run_dir::RunDir;
use super::{URL_VARIABLE, exit_code, pass_on, run_on};
use crate::checkout::Checkout;

/// The arguments of `chaos`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long faults are injected
    #[arg(long, env = "CHAOS_SECONDS", default_value_t = 60)]
    seconds: u64,
    /// Determines the faults and their order; random if not given
    #[arg(long, env = "CHAOS_SEED")]
    seed: Option<u64>,
    /// Where the run's servers come from
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    database: Choice,
}

/// Runs the test with its output shown as it comes; the exit code is the test's.
pub(crate) fn run(args: &Args, checkout: &Checkout, interrupt: &Interrupt) -> Result<ExitCode> {
    let run_dir = RunDir::create(checkout, interrupt)?;
    let source = Source::find(args.database, URL_VARIABLE, interrupt)?;
    let seed = args.seed.unwrap_or_else(random_seed);
    let mut cargo = checkout.cargo();
    cargo
        .args(["test", "--package", "orders-tests", "--test", "suite", "--", "chaos::", "--nocapture"])
        .env("CHAOS_SECONDS", args.seconds.to_string())
        .env("CHAOS_SEED", seed.to_string());
    pass_on(&mut cargo, &[]);
    let (is_success, summary) = run_on(source, &run_dir, cargo, 1, checkout, interrupt)?;
    say(format_args!("== to repeat this run: cargo xtask chaos --seconds {} --seed {seed}", args.seconds));
    say(summary.line(is_success));
    Ok(exit_code(is_success))
}

/// From the standard library, which seeds each hasher at random.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
