//! The worker's settings, from the environment or the command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use orders_shared::config::{DatabaseArgs, LogArgs, ShutdownArgs, command_line};
use orders_shared::domain::RetryPolicy;
use orders_shared::version::Version;

use crate::processors::{Faults, Simulated};

/// Claims orders from MySQL and processes them.
#[derive(Parser)]
#[command(name = "orders-worker")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// This process' command line. Where it asks for help or the version, or is wrong, the process ends here.
    #[must_use]
    pub fn read(version: Version) -> Self {
        let command = Self::command().version(version.to_string());
        let matches = command.get_matches_from(command_line(std::env::args_os(), "run"));
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Claim and process orders (the default).
    Run(Box<RunArgs>),
    /// Ask the worker on this machine whether it is ready; exit 1 when it is not.
    Healthcheck(ListenArgs),
}

/// Where the worker listens.
#[derive(Args)]
pub struct ListenArgs {
    /// Address of the ops endpoints, /livez, /readyz and /metrics/prometheus, and of the UDP port for wake-up datagrams of
    /// the API.
    #[arg(long, env = "WORKER_LISTEN", default_value = "0.0.0.0:9100")]
    pub worker_listen: SocketAddr,
}

/// Settings of `run`.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is defined")]
    pub database: DatabaseArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is defined")]
    pub listen: ListenArgs,

    /// Orders worked on at once. Too low leaves the machine idle while the work waits for other services; too high takes
    /// orders away from other workers.
    #[arg(long, env = "WORKER_CONCURRENCY", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    worker_concurrency: u32,

    /// Milliseconds between two polls of an empty queue. Lower finds orders sooner where a wake-up was lost, at one query a
    /// poll.
    #[arg(long, env = "WORKER_POLL_MS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    worker_poll_ms: u64,

    /// Attempts that an order has; when the last one fails the order is FAILED.
    #[arg(long, env = "WORKER_MAX_ATTEMPTS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    worker_max_attempts: u16,

    /// Milliseconds before the second attempt, shortened by up to half at random; each further pause is twice as long, up
    /// to ten minutes. Too low keeps calling a service that is down, too high delays work that would succeed.
    #[arg(long, env = "WORKER_RETRY_BASE_MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    worker_retry_base_ms: u64,

    /// Milliseconds that one attempt may take; a longer one is ended and counts as failed.
    #[arg(long, env = "PROCESSING_TIMEOUT_MS", default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    processing_timeout_ms: u64,

    /// Seconds without a heartbeat after which the others declare this worker dead and take its orders. It sends five in
    /// that time, and one every three seconds at least. Too low takes a busy worker for dead, too high leaves the orders of a
    /// dead one waiting.
    #[arg(long, env = "WORKER_DEAD_AFTER_SECS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    worker_dead_after_secs: u64,

    /// Milliseconds that the built-in, simulated work on an order takes; 0 for none.
    #[arg(long, env = "SIMULATED_PROCESSING_MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=86_400_000))]
    simulated_processing_ms: u64,

    /// Milliseconds that the simulated work takes at an attempt with the fault `slow`.
    #[arg(long, env = "SIMULATED_SLOW_MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(0..=86_400_000))]
    simulated_slow_ms: u64,

    /// Faults of the simulated work: `kind=share` or `kind=user:ID`, separated by commas. The kinds: fail,
    /// panic, slow and hang, at a share of the attempts; reject (never to succeed) and kill (the process ends as by a
    /// crash), at each attempt of a share of the orders. Shares are from 0 to 1.
    #[arg(long, env = "SIMULATED_FAULTS", default_value = "")]
    simulated_faults: Faults,

    #[command(flatten)]
    shutdown: ShutdownArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is defined")]
    pub log: LogArgs,
}

/// How one worker process works.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSettings {
    /// Orders worked on at once.
    pub concurrency: u32,
    /// Time between two polls of an empty queue.
    pub poll: Duration,
    /// Time that one attempt may take.
    pub timeout: Duration,
    /// What follows an attempt that failed.
    pub retries: RetryPolicy,
    /// Without a heartbeat for this long, this worker is dead to the others.
    pub dead_after: Duration,
    /// Time that orders under way have to finish at shutdown.
    pub grace: Duration,
    /// Which build of the program this is.
    pub version: Version,
}

impl RunArgs {
    /// How the worker works.
    #[must_use]
    pub fn worker(&self, version: Version) -> WorkerSettings {
        WorkerSettings {
            concurrency: self.worker_concurrency,
            poll: Duration::from_millis(self.worker_poll_ms),
            timeout: Duration::from_millis(self.processing_timeout_ms),
            retries: RetryPolicy {
                max_attempts: self.worker_max_attempts,
                base: Duration::from_millis(self.worker_retry_base_ms),
            },
            dead_after: Duration::from_secs(self.worker_dead_after_secs),
            grace: self.shutdown.grace(),
            version,
        }
    }

    /// The built-in processor.
    #[must_use]
    pub fn simulated(&self) -> Simulated {
        Simulated {
            duration: Duration::from_millis(self.simulated_processing_ms),
            slow: Duration::from_millis(self.simulated_slow_ms),
            faults: self.simulated_faults.clone(),
        }
    }
}
