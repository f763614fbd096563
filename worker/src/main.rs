//! `orders-worker`: claims orders and processes them.

use std::process::ExitCode;

use orders_shared::http::healthcheck;
use orders_shared::version::Version;
use orders_worker::cli::{Cli, Command, DeliverArgs, ListenArgs, RunArgs};
use orders_worker::{deliver, print_curl, program};

/// Which build this is: the revision is told by whoever builds.
const VERSION: Version = Version::new(env!("CARGO_PKG_VERSION"), option_env!("ORDERS_REVISION"));

fn main() -> ExitCode {
    program::block_on(async {
        match Cli::read(VERSION).command {
            Command::Run(args) => work(&args).await?,
            Command::Deliver(args) => return deliver_one(&args).await,
            Command::Healthcheck(ListenArgs { worker_listen }) => healthcheck(worker_listen).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn work(args: &RunArgs) -> anyhow::Result<()> {
    let fulfilment = args.fulfilment()?;
    let settings = args.settings(VERSION, fulfilment.as_ref());
    program::run(&args.worker, settings, |registry| args.work(fulfilment, registry)).await
}

/// Does not log: the output says everything.
async fn deliver_one(args: &DeliverArgs) -> anyhow::Result<ExitCode> {
    let (delivery, fulfilment) = (args.delivery().await?, args.fulfilment()?);
    let mut output = std::io::stdout();
    if args.print {
        print_curl(&delivery, &fulfilment, &mut output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let is_done = deliver(&delivery, fulfilment, &mut output).await?;
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
