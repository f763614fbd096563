//! `cargo xtask`: the whole system, or its whole test suite, with one command.
//!
//! It needs only Rust: it finds, starts or, where the user may, installs a database (see
//! [`xtask::servers::Source::find`]), and stops everything that it started before it ends.

mod bench;
mod binaries;
mod checkout;
mod contract;
mod database;
mod leftovers;
mod test;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use xtask::interrupt::{Interrupt, Interrupted};
use xtask::output;

use crate::checkout::Checkout;

/// Runs Orders from a checkout.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole system on this machine until Ctrl-C
    Up(up::Args),
    /// Set up what the tests need and run the whole suite
    Test(test::Args),
    /// Inject random faults into the system under load, and check the fate of every order
    Chaos(test::chaos::Args),
    /// Check the running API against its OpenAPI document: fuzz it, and use it through a generated client
    Contract(contract::Args),
    /// Measure how fast Orders is, compared with the database server alone
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let interrupted = match cli.command {
        // Ctrl-C is the usual way to end `up`, but cuts the others short.
        Command::Up(_) => ExitCode::SUCCESS,
        Command::Test(_) | Command::Chaos(_) | Command::Contract(_) | Command::Bench(_) => ExitCode::from(130),
    };
    match run(cli.command) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => interrupted,
        Err(error) => {
            output::complain(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let interrupt = Interrupt::watch()?;
    let checkout = Checkout::locate()?;
    match command {
        Command::Up(args) => up::run(&args, &checkout, &interrupt),
        Command::Test(args) => test::run(&args, &checkout, &interrupt),
        Command::Chaos(args) => test::chaos::run(&args, &checkout, &interrupt),
        Command::Contract(args) => contract::run(&args, &checkout, &interrupt),
        Command::Bench(args) => bench::run(&args, &checkout, &interrupt),
    }
}
