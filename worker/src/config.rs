//! The worker's settings, from the environment or the command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use orders_shared::config::{DatabaseArgs, LogArgs, ShutdownArgs};

use crate::WorkerSettings;

/// Claims orders from MySQL and processes them.
#[derive(Parser)]
#[command(name = "orders-worker", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    run: Option<RunArgs>,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Claim and process orders (the default).
    Run(Box<RunArgs>),
    /// Ask the worker on this machine whether it is ready; exit 1 when it is not.
    Healthcheck(HealthcheckArgs),
}

impl Cli {
    /// The command, `run` where none is named.
    #[must_use]
    pub fn command(self) -> Command {
        match (self.command, self.run) {
            (Some(command), _) => command,
            (None, Some(run)) => Command::Run(Box::new(run)),
            (None, None) => Self::parse_from(["orders-worker", "run"]).command(),
        }
    }
}

/// Where the worker listens.
#[derive(Args)]
pub struct HealthcheckArgs {
    /// Address of the worker's ops endpoints.
    #[arg(long, env = "WORKER_LISTEN", default_value = "0.0.0.0:9100")]
    pub worker_listen: SocketAddr,
}

/// Settings of `run`.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is defined")]
    pub database: DatabaseArgs,

    /// Address of the ops endpoints: /livez, /readyz, /metrics/prometheus.
    #[arg(long, env = "WORKER_LISTEN", default_value = "0.0.0.0:9100")]
    pub worker_listen: SocketAddr,

    /// Orders worked on at once. Too low leaves the machine idle while orders wait for something outside; too high
    /// takes orders away from other workers.
    #[arg(long, env = "WORKER_CONCURRENCY", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    worker_concurrency: u32,

    /// Milliseconds between looks at an empty queue. Lower finds a new order sooner, at one query a look.
    #[arg(long, env = "WORKER_POLL_MS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    worker_poll_ms: u64,

    /// Milliseconds that the built-in, simulated work on an order takes; 0 for none.
    #[arg(long, env = "SIMULATED_PROCESSING_MS", default_value_t = 0)]
    simulated_processing_ms: u64,

    #[command(flatten)]
    shutdown: ShutdownArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is defined")]
    pub log: LogArgs,
}

impl RunArgs {
    /// How the worker works.
    #[must_use]
    pub fn worker(&self) -> WorkerSettings {
        WorkerSettings {
            concurrency: self.worker_concurrency,
            poll: Duration::from_millis(self.worker_poll_ms),
            grace: self.shutdown.grace(),
        }
    }

    /// How long the simulated work takes.
    #[must_use]
    pub fn simulated_processing(&self) -> Duration {
        Duration::from_millis(self.simulated_processing_ms)
    }
}
