//! `cargo xtask`: the whole system, or its whole test suite, with one command.
//!
//! It needs nothing but Rust: a database is found, or started, or installed
//! where the user may (see [`database::Source::find`]), and everything that a command
//! started is stopped before the command ends.

mod ask;
mod bench;
mod binaries;
mod checkout;
mod contract;
mod data_dir;
mod database;
mod interrupt;
mod leftovers;
mod output;
mod process;
mod test;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::checkout::Checkout;
use crate::interrupt::{Interrupt, Interrupted};

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
    /// Let random faults happen to the system under load, and check what became of every order
    Chaos(test::chaos::Args),
    /// Hold the running API against its OpenAPI document: fuzz it, and use it through a generated client
    Contract(contract::Args),
    /// Measure how fast it is, beside what the database server alone can do
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let interrupted = match cli.command {
        // Ctrl-C is the ordinary way to end `up`; a test run it cuts short.
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
