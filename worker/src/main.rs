//! `orders-worker`: claims orders and processes them.

use std::process::ExitCode;
use std::sync::Arc;

use orders_shared::http::{Listener, healthcheck};
use orders_shared::version::Version;
use orders_shared::{metrics, shutdown, telemetry};
use orders_worker::cli::{Cli, Command, ListenArgs, RunArgs};

/// Which build this is: the revision is told by whoever builds.
const VERSION: Version = Version::new(env!("CARGO_PKG_VERSION"), option_env!("ORDERS_REVISION"));

fn main() -> ExitCode {
    telemetry::exit_code(run())
}

fn run() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(command());
    // A name server that does not answer, or work that blocks its thread, must not delay the exit.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

async fn command() -> anyhow::Result<()> {
    match Cli::read(VERSION).command {
        Command::Run(args) => work(*args).await,
        Command::Healthcheck(ListenArgs { worker_listen }) => Ok(healthcheck(worker_listen).await?),
    }
}

async fn work(args: RunArgs) -> anyhow::Result<()> {
    let log = telemetry::start(&args.log)?;
    let registry = metrics::registry(VERSION)?;
    log.register(&registry)?;
    let database = args.database.store()?;
    if let Some(warning) = args.warning() {
        tracing::warn!("{warning}");
    }
    let address = args.listen.worker_listen;
    let listener = Listener::bind(address)
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on {address} (WORKER_LISTEN): {error}"))?;
    let processor = Arc::new(args.simulated());
    orders_worker::run(database, listener, processor, registry, args.worker(VERSION), shutdown::on_signal()?).await
}
