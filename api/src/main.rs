//! `orders-api`: takes orders in and shows what becomes of them.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use orders_api::cli::{Cli, Command, ServeArgs};
use orders_api::{ApiSettings, Hosts, MemoryBudget, doctor, serve};
use orders_shared::config::{DatabaseArgs, LogArgs};
use orders_shared::http::{Listener, healthcheck};
use orders_shared::store::Store;
use orders_shared::version::Version;
use orders_shared::{metrics, shutdown, telemetry};

/// HTTP and JSON allocate a lot: with the C library's allocator a create takes a seventh more processor time
/// (docs/PERFORMANCE.md). Huge pages are off (`no_thp`), as they would hold more memory than was asked for.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
    ended
}

async fn command() -> anyhow::Result<ExitCode> {
    match Cli::read(VERSION).command {
        Command::Serve(args) => take_orders(*args).await?,
        Command::Migrate { database, log } => migrate(&database, &log).await?,
        Command::Doctor { database } => return diagnose(&database).await,
        Command::Healthcheck { api_listen } => healthcheck(api_listen).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn take_orders(args: ServeArgs) -> anyhow::Result<()> {
    let log = telemetry::start(&args.log)?;
    let registry = metrics::registry(VERSION)?;
    log.register(&registry)?;
    let database = args.database.store()?;
    args.check(&database)?;
    let listener = Listener::bind(args.api_listen)
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on {} (API_LISTEN): {error}", args.api_listen))?;
    let settings = ApiSettings {
        hosts: Hosts::reached_at(args.reached_at(), &args.api_allowed_hosts)?,
        budget: MemoryBudget::of_mb(args.api_memory_mb),
        grace: args.shutdown.grace(),
        version: VERSION,
    };
    serve(database, listener, registry, settings, shutdown::on_signal()?).await
}

async fn migrate(database: &DatabaseArgs, log: &LogArgs) -> anyhow::Result<()> {
    let _log = telemetry::start(log)?;
    let store = Store::new(database.store()?);
    store.migrate().await?;
    tracing::info!("the schema is current");
    store.close().await;
    Ok(())
}

/// Does not log: the findings say everything.
async fn diagnose(database: &DatabaseArgs) -> anyhow::Result<ExitCode> {
    let store = Store::new(database.store()?);
    let is_sound = doctor(&store, &mut std::io::stdout()).await?;
    store.close().await;
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
