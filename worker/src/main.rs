//! `orders-worker`: claims orders and processes them.

use std::process::ExitCode;

use orders_shared::http::healthcheck;
use orders_shared::version::Version;
use orders_worker::cli::{Cli, Command, ListenArgs};
use orders_worker::program;

/// Which build this is: the revision is told by whoever builds.
const VERSION: Version = Version::new(env!("CARGO_PKG_VERSION"), option_env!("ORDERS_REVISION"));

fn main() -> ExitCode {
    program::block_on(async {
        match Cli::read(VERSION).command {
            Command::Run(args) => {
                let settings = args.worker.settings(VERSION);
                let work = args.work();
                let warning = args.warning();
                program::run(args.worker, settings, || {
                    if let Some(warning) = warning {
                        tracing::warn!("{warning}");
                    }
                    Ok(work)
                })
                .await
            }
            Command::Healthcheck(ListenArgs { worker_listen }) => Ok(healthcheck(worker_listen).await?),
        }
    })
}
