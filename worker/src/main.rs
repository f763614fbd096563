//! `orders-worker`: claims orders and processes them.

use std::process::ExitCode;
use std::sync::Arc;

use orders_shared::http::{Listener, healthcheck};
use orders_shared::{metrics, shutdown, telemetry};
use orders_worker::config::{Cli, Command, HealthcheckArgs, RunArgs};

fn main() -> ExitCode {
    telemetry::exit_code(run())
}

fn run() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(command());
    // A name server that does not answer, or work that blocks its thread, must not hold the end up.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

async fn command() -> anyhow::Result<()> {
    match Cli::read().command {
        Command::Run(args) => work(*args).await,
        Command::Healthcheck(HealthcheckArgs { worker_listen }) => Ok(healthcheck(worker_listen).await?),
    }
}

async fn work(args: RunArgs) -> anyhow::Result<()> {
    let log = telemetry::start(&args.log)?;
    let registry = metrics::registry()?;
    log.register(&registry)?;
    let database = args.database.store()?;
    let listener = Listener::bind(args.worker_listen)
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on {} (WORKER_LISTEN): {error}", args.worker_listen))?;
    let processor = Arc::new(args.simulated());
    orders_worker::run(database, listener, processor, registry, args.worker(), shutdown::on_signal()?).await
}
