//! The worker's settings, from the environment or the command line.
//!
//! `Invariant:` all combinations of accepted values work. A time that depends on a setting is derived from it, as the
//! heartbeat interval is from `WORKER_DEAD_AFTER_SECS`. A combination that makes no sense is warned of.

mod deliver;
mod fulfilment;
mod given;

use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, value_parser};
use orders_shared::config::{DatabaseArgs, InvalidSetting, LogArgs, ShutdownArgs, read_command_line};
use orders_shared::domain::{GIVE_UP_AFTER, Pauses, RetryPolicy};
use orders_shared::version::Version;
use prometheus::Registry;

pub use self::deliver::DeliverArgs;
pub use self::fulfilment::FulfilmentArgs;
use self::given::{Given, OrEmpty};
use crate::processors::{Faults, FulfilmentSettings, Simulated, Work};

/// Attempts that an order gets by default: with the default pauses they span two minutes.
const MAX_ATTEMPTS: u16 = 8;

/// The first pause by default, in milliseconds.
const RETRY_BASE_MS: u64 = 1_000;

/// The time of a slow attempt by default: longer than anybody waits, and less than an attempt may take.
const SIMULATED_SLOW_MS: u64 = 10_000;

/// Why settings of retries cannot be combined with a service.
const USE_SCHEDULE: &str =
    "cannot be combined with FULFILMENT_URL: FULFILMENT_RETRY_SCHEDULE says when an order is pushed again";

/// Why settings of simulated work cannot be.
const NOT_SIMULATED: &str = "cannot be combined with FULFILMENT_URL, by which no work is simulated: remove one of them";

/// Claims orders from MySQL and processes them.
#[derive(Parser)]
#[command(name = "orders-worker")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line of this process. Where it asks for help or the version, or is wrong, the process ends here.
    #[must_use]
    pub fn read(version: Version) -> Self {
        read_command_line(None, version, "run")
    }
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Claim and process orders (the default).
    Run(Box<RunArgs>),
    /// Send one order, or a test, to the service that orders are pushed to, and exit with 1 if it would not be done.
    Deliver(Box<DeliverArgs>),
    /// Ask the worker on this machine whether it is ready, and exit with 1 if it is not.
    Healthcheck(ListenArgs),
}

/// Claims orders from MySQL and processes them.
#[derive(Parser)]
pub(crate) struct ProgramCli {
    #[command(subcommand)]
    pub(crate) command: ProgramCommand,
}

impl ProgramCli {
    /// The command line of this process, which has the name of its program's file.
    pub(crate) fn read(version: Version) -> Self {
        read_command_line(program_name(), version, "run")
    }
}

/// What a program with a processor of its own can do.
#[derive(Subcommand)]
pub(crate) enum ProgramCommand {
    /// Claim and process orders (the default).
    Run(Box<WorkerArgs>),
    /// Ask the worker on this machine whether it is ready, and exit with 1 if it is not.
    Healthcheck(ListenArgs),
}

fn program_name() -> Option<String> {
    let file = std::env::args_os().next()?;
    Some(Path::new(&file).file_stem()?.to_string_lossy().into_owned())
}

/// Where the worker listens.
#[derive(Args)]
pub struct ListenArgs {
    /// Address of the ops endpoints (/livez, /readyz and /metrics/prometheus), and of the UDP port for wake-ups from
    /// the API.
    #[arg(long, env = "WORKER_LISTEN", default_value = "0.0.0.0:9100")]
    pub worker_listen: SocketAddr,
}

/// Settings of `run`.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is defined")]
    pub worker: WorkerArgs,

    #[command(flatten)]
    fulfilment: FulfilmentArgs,

    #[command(flatten)]
    simulated: SimulatedArgs,
}

/// The settings of every worker, however it processes orders.
#[derive(Args)]
pub struct WorkerArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is defined")]
    pub database: DatabaseArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is defined")]
    pub listen: ListenArgs,

    /// Orders to process at once. Too low leaves the machine idle while the work waits for other services; too high
    /// takes orders that other workers could process sooner.
    #[arg(long, env = "WORKER_CONCURRENCY", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    worker_concurrency: u32,

    /// Milliseconds between two polls of an empty queue. Lower finds orders sooner when a wake-up is lost, at the cost
    /// of one query per poll.
    #[arg(long, env = "WORKER_POLL_MS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    worker_poll_ms: u64,

    /// Attempts that an order gets; when the last one fails, the order becomes FAILED. [default: 8]
    #[arg(long, env = "WORKER_MAX_ATTEMPTS", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    worker_max_attempts: Option<u16>,

    /// Milliseconds before the second attempt, shortened by up to half at random; each further pause is twice as long,
    /// up to ten minutes. Too low keeps calling a service that is down; too high delays work that would succeed.
    /// [default: 1000]
    #[arg(long, env = "WORKER_RETRY_BASE_MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    worker_retry_base_ms: Option<u64>,

    /// Milliseconds that one attempt may take; a longer one is stopped and counts as failed.
    #[arg(long, env = "PROCESSING_TIMEOUT_MS", default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    processing_timeout_ms: u64,

    /// Seconds without a heartbeat after which other workers declare this one dead and take its orders. It sends at
    /// least five heartbeats in that time, at most three seconds apart. Too low takes a busy worker for dead; too high
    /// leaves the orders of a dead one waiting.
    #[arg(long, env = "WORKER_DEAD_AFTER_SECS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    worker_dead_after_secs: u64,

    #[command(flatten)]
    shutdown: ShutdownArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is defined")]
    pub log: LogArgs,
}

/// How work is simulated, where there is none.
#[derive(Args)]
#[command(next_help_heading = "Simulated work")]
#[expect(clippy::struct_field_names, reason = "the fields have the names of the settings")]
struct SimulatedArgs {
    /// Milliseconds that the simulated work on an order takes [default: 0, which means no time at all].
    #[arg(long, env = "SIMULATED_PROCESSING_MS", default_value = "", hide_default_value = true, value_parser = OrEmpty(value_parser!(u64).range(0..=86_400_000)))]
    simulated_processing_ms: Given<u64>,

    /// Milliseconds that the simulated work takes in an attempt with the fault `slow` [default: 10000].
    #[arg(long, env = "SIMULATED_SLOW_MS", default_value = "", hide_default_value = true, value_parser = OrEmpty(value_parser!(u64).range(0..=86_400_000)))]
    simulated_slow_ms: Given<u64>,

    /// Faults of the simulated work: `kind=share` or `kind=user:ID`, separated by commas. The kinds fail, panic, slow
    /// and hang affect a share of the attempts; reject (a permanent error) and kill (the process ends as in a crash)
    /// affect every attempt of a share of the orders. Shares are from 0 to 1.
    #[arg(long, env = "SIMULATED_FAULTS", default_value = "", hide_default_value = true, value_parser = OrEmpty(Faults::from_str))]
    simulated_faults: Given<Faults>,
}

/// How one worker process works.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Orders to process at once.
    pub concurrency: u32,
    /// Time between two polls of an empty queue.
    pub poll: Duration,
    /// Time that one attempt may take.
    pub timeout: Duration,
    /// What follows an attempt that did not complete its order.
    pub retries: RetryPolicy,
    /// After this long without a heartbeat, other workers declare this one dead.
    pub dead_after: Duration,
    /// Time that orders under way have to finish in a shutdown.
    pub grace: Duration,
    /// Which build of the program this is.
    pub version: Version,
}

impl WorkerArgs {
    /// How the worker works.
    #[must_use]
    pub fn settings(&self, version: Version) -> WorkerSettings {
        let base = Duration::from_millis(self.worker_retry_base_ms.unwrap_or(RETRY_BASE_MS));
        let pauses = Pauses::Doubling { max_attempts: self.worker_max_attempts.unwrap_or(MAX_ATTEMPTS), base };
        WorkerSettings {
            concurrency: self.worker_concurrency,
            poll: Duration::from_millis(self.worker_poll_ms),
            timeout: Duration::from_millis(self.processing_timeout_ms),
            retries: RetryPolicy { pauses, give_up_after: GIVE_UP_AFTER },
            dead_after: Duration::from_secs(self.worker_dead_after_secs),
            grace: self.shutdown.grace(),
            version,
        }
    }
}

impl RunArgs {
    /// How orders are pushed to a service; `None` if they are not, and the work is simulated.
    pub fn fulfilment(&self) -> Result<Option<FulfilmentSettings>, InvalidSetting> {
        let Some(settings) = self.fulfilment.settings()? else { return Ok(None) };
        for (name, is_given, why) in [
            ("WORKER_MAX_ATTEMPTS", self.worker.worker_max_attempts.is_some(), USE_SCHEDULE),
            ("WORKER_RETRY_BASE_MS", self.worker.worker_retry_base_ms.is_some(), USE_SCHEDULE),
            ("SIMULATED_PROCESSING_MS", self.simulated.simulated_processing_ms.0.is_some(), NOT_SIMULATED),
            ("SIMULATED_SLOW_MS", self.simulated.simulated_slow_ms.0.is_some(), NOT_SIMULATED),
            ("SIMULATED_FAULTS", self.simulated.simulated_faults.0.is_some(), NOT_SIMULATED),
        ] {
            if is_given {
                return Err(InvalidSetting::new(name, why));
            }
        }
        if settings.timeout() >= Duration::from_millis(self.worker.processing_timeout_ms) {
            let why =
                format!("must be less than PROCESSING_TIMEOUT_MS, which is {}", self.worker.processing_timeout_ms);
            return Err(InvalidSetting::new("FULFILMENT_TIMEOUT_MS", why));
        }
        Ok(Some(settings))
    }

    /// How the worker works.
    #[must_use]
    pub fn settings(&self, version: Version, fulfilment: Option<&FulfilmentSettings>) -> WorkerSettings {
        let settings = self.worker.settings(version);
        match fulfilment {
            Some(fulfilment) => WorkerSettings { retries: fulfilment.retries(), ..settings },
            None => settings,
        }
    }

    /// What the worker does with orders. Fails if the metrics of that cannot be added to the registry.
    pub fn work(&self, fulfilment: Option<FulfilmentSettings>, registry: &Registry) -> anyhow::Result<Work> {
        if let Some(fulfilment) = fulfilment {
            return Ok(Work::pushed(fulfilment, registry)?);
        }
        if let Some(warning) = self.warning() {
            tracing::warn!("{warning}");
        }
        Ok(Work::simulated(self.simulated()))
    }

    fn simulated(&self) -> Simulated {
        let SimulatedArgs { simulated_processing_ms, simulated_slow_ms, simulated_faults } = &self.simulated;
        Simulated {
            duration: Duration::from_millis(simulated_processing_ms.0.unwrap_or_default()),
            slow: Duration::from_millis(simulated_slow_ms.0.unwrap_or(SIMULATED_SLOW_MS)),
            faults: simulated_faults.0.clone().unwrap_or_default(),
        }
    }

    /// A warning for the log about settings that work against each other; `None` if all is well.
    fn warning(&self) -> Option<String> {
        let (work, timeout) = (self.simulated().duration.as_millis(), self.worker.processing_timeout_ms);
        (work >= timeout.into()).then(|| {
            format!(
                "every attempt will time out, as SIMULATED_PROCESSING_MS is {work} and PROCESSING_TIMEOUT_MS is {timeout}: \
                 lower the former or raise the latter"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use orders_shared::domain::{NextStep, NotDone};

    use super::*;
    use crate::heartbeat::interval;

    fn args(args: &[&str]) -> Result<RunArgs, clap::Error> {
        let database = ["orders-worker", "run", "--database-url", "mysql://localhost/orders"];
        match Cli::try_parse_from(database.iter().chain(args))?.command {
            Command::Run(args) => Ok(*args),
            _ => unreachable!(),
        }
    }

    fn settings(args: &[&str]) -> WorkerSettings {
        self::args(args).unwrap().worker.settings(Version::new("0.0.0", None))
    }

    #[test]
    fn work_that_cannot_end_before_its_timeout_is_warned_of_with_both_settings() {
        for (work, timeout, is_warned_of) in [("0", "1", false), ("99", "100", false), ("100", "100", true)] {
            let args = args(&["--simulated-processing-ms", work, "--processing-timeout-ms", timeout]).unwrap();

            let warning = args.warning();

            assert_eq!(warning.is_some(), is_warned_of, "{work} {timeout}");
            for part in [format!("SIMULATED_PROCESSING_MS is {work} "), format!("PROCESSING_TIMEOUT_MS is {timeout}:")]
            {
                assert!(warning.iter().all(|warning| warning.contains(&part)), "{warning:?}");
            }
        }
    }

    #[test]
    fn a_worker_sends_five_heartbeats_before_it_counts_as_dead() {
        for secs in ["1", "2", "15", "3600"] {
            let dead_after = settings(&["--worker-dead-after-secs", secs]).dead_after;

            assert!(interval(dead_after) * 5 <= dead_after, "{secs} s");
        }
    }

    #[test]
    fn the_longest_first_pause_is_the_longest_of_all() {
        let retries = settings(&["--worker-retry-base-ms", "600000"]).retries;
        let base = NextStep::RetryAfter(Duration::from_mins(10));

        assert_eq!([1, 2].map(|attempt| retries.after(attempt, &NotDone::retry("busy"), 0.0)), [base; 2]);
        assert!(args(&["--worker-retry-base-ms", "600001"]).is_err());
    }

    #[test]
    fn settings_that_a_service_makes_meaningless_are_rejected_beside_it() {
        let url = "--fulfilment-url=http://localhost";
        for (args, said) in [
            (&["--worker-max-attempts=3"][..], "WORKER_MAX_ATTEMPTS cannot be combined with FULFILMENT_URL"),
            (&["--worker-retry-base-ms=3"], "WORKER_RETRY_BASE_MS cannot be combined with FULFILMENT_URL"),
            (&["--simulated-processing-ms=0"], "SIMULATED_PROCESSING_MS cannot be combined with FULFILMENT_URL"),
            (&["--simulated-slow-ms=1"], "SIMULATED_SLOW_MS cannot be combined with FULFILMENT_URL"),
            (&["--simulated-faults=fail=1"], "SIMULATED_FAULTS cannot be combined with FULFILMENT_URL"),
            (
                &["--processing-timeout-ms=15000"],
                "FULFILMENT_TIMEOUT_MS must be less than PROCESSING_TIMEOUT_MS, which",
            ),
        ] {
            let error = args_with(url, args).fulfilment().err().unwrap().to_string();

            assert!(error.starts_with(said), "{error}");
        }
        let settings = args_with(url, &["--simulated-faults="]).fulfilment().unwrap();
        assert!(settings.is_some());
    }

    fn args_with(url: &str, args: &[&str]) -> RunArgs {
        self::args(&[&[url], args].concat()).unwrap()
    }
}
