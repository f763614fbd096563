//! `orders-worker`: claims orders and processes them.

use std::sync::Arc;

use orders_shared::http::{Listener, healthcheck};
use orders_shared::{shutdown, telemetry};
use orders_worker::config::{Cli, Command, HealthcheckArgs, RunArgs};
use orders_worker::run;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(command());
    // A name server that does not answer, or work that blocks its thread, must not hold the end up.
    runtime.shutdown_background();
    ended
}

async fn command() -> anyhow::Result<()> {
    match Cli::read().command {
        Command::Run(args) => work(*args).await,
        Command::Healthcheck(HealthcheckArgs { worker_listen }) => Ok(healthcheck(worker_listen).await?),
    }
}

async fn work(args: RunArgs) -> anyhow::Result<()> {
    telemetry::start(&args.log)?;
    let database = args.database.store()?;
    let listener = Listener::bind(args.worker_listen)
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on {} (WORKER_LISTEN): {error}", args.worker_listen))?;
    let processor = Arc::new(args.simulated());
    run(database, listener, processor, args.worker(), shutdown::on_signal()?).await
}
