//! The program around a processor: command line, log, ops endpoints and shutdown.

use std::process::ExitCode;

use orders_shared::http::{Listener, healthcheck};
use orders_shared::{metrics, shutdown, telemetry};
use prometheus::Registry;

use crate::cli::{ListenArgs, ProgramCli, ProgramCommand, WorkerArgs, WorkerSettings};
use crate::processors::{Processor, Work};

/// A whole worker program: processes orders with `processor` until it is told to stop. It has the name of its file, the
/// settings of every worker, `--help`, `--version`, the command `healthcheck`, and the ops endpoints.
///
/// Returns the exit code of the process: 0 after a shutdown in good order.
///
/// ```no_run
/// use orders_worker::{Attempt, Done, Outcome, Processor, async_trait};
///
/// struct Ship;
///
/// #[async_trait]
/// impl Processor for Ship {
///     async fn process(&self, attempt: Attempt<'_>) -> Outcome {
///         Ok(Done::with(&format!("parcel of order {}", attempt.order.order_id))?)
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     orders_worker::main(Ship)
/// }
/// ```
pub fn main(processor: impl Processor) -> ExitCode {
    let version = processor.version();
    block_on(async {
        match ProgramCli::read(version).command {
            ProgramCommand::Run(args) => run(&args, args.settings(version), |_| Ok(Work::of(processor))).await?,
            ProgramCommand::Healthcheck(ListenArgs { worker_listen }) => healthcheck(worker_listen).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Runs a program to its end, and returns its exit code.
pub fn block_on(program: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let run = || {
        let runtime = tokio::runtime::Runtime::new()?;
        let ended = runtime.block_on(program);
        // A name server that does not answer, or work that blocks its thread, must not delay the exit.
        runtime.shutdown_background();
        ended
    };
    telemetry::exit_code(run())
}

/// Runs a worker until this process is told to stop, with the work that `work` makes once the log and the metrics are
/// there.
pub async fn run(
    args: &WorkerArgs,
    settings: WorkerSettings,
    work: impl FnOnce(&Registry) -> anyhow::Result<Work>,
) -> anyhow::Result<()> {
    let log = telemetry::start(&args.log)?;
    let registry = metrics::registry(settings.version)?;
    log.register(&registry)?;
    let database = args.database.store()?;
    let work = work(&registry)?;
    let address = args.listen.worker_listen;
    let listener = Listener::bind(address)
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on {address} (WORKER_LISTEN): {error}"))?;
    crate::run(database, listener, work, registry, settings, shutdown::on_signal()?).await
}
