//! `cargo xtask up`: database, migrations, API and worker, until Ctrl-C.

pub(crate) mod address;
mod demo;
pub(crate) mod programs;

use std::process::ExitCode;

use anyhow::{Result, bail};
use xtask::data_dir::DataDir;
use xtask::interrupt::{Interrupt, POLL};
use xtask::output::{complain, say};
use xtask::servers::{Choice, Purpose, Source};

use self::address::Address;
use self::demo::Demo;
use self::programs::{Programs, migrate};
use crate::binaries::Binaries;
use crate::checkout::Checkout;
use crate::database::Database;
use crate::leftovers;

/// The arguments of `up`; everything else comes from the environment.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the database comes from
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    database: Choice,
    /// Run the programs optimised, as the images have them, which builds for some minutes longer
    #[arg(long)]
    release: bool,
    /// Also run customers who place orders, and a service that the worker pushes them to, which fails now and then and is
    /// away for ten seconds of each minute
    #[arg(long)]
    demo: bool,
}

/// Starts the system, watches it, and stops it again.
///
/// Cheap checks come first, so that nothing is built if a port is taken or there is no database. However this function
/// ends, its values stop their programs as they are dropped, the database last.
pub(crate) fn run(args: &Args, checkout: &Checkout, interrupt: &Interrupt) -> Result<ExitCode> {
    let Some(data) = DataDir::claim(checkout.root().join(".data"))? else {
        bail!("another `cargo xtask up` runs in this checkout");
    };
    leftovers::stop(&data, interrupt)?;
    let api = Address::of("API_LISTEN", "127.0.0.1:8000")?;
    let worker = Address::of("WORKER_LISTEN", "127.0.0.1:9100")?;
    api.check_free()?;
    worker.check_free()?;
    let demo = if args.demo { Some(Address::of("DEMO_LISTEN", "127.0.0.1:9200")?) } else { None };
    demo.iter().try_for_each(Address::check_free)?;
    let source = Source::find(args.database, "DATABASE_URL", interrupt)?;
    let build = if args.release { Binaries::build_optimised } else { Binaries::build };
    let binaries = build(checkout, interrupt)?;
    let demo = demo.map(|address| Demo::build(address, args.release, checkout, interrupt)).transpose()?;
    let container = format!("orders-up-{}", checkout.id());
    let mut database = Database::start(source, Purpose::Use, container, &data, interrupt)?;
    migrate(&binaries, &data, &database, interrupt)?;
    // The service ends after the worker, which then drains, and the customers before the API.
    let _service = demo.as_ref().map(|demo| demo.start_service(&data)).transpose()?;
    let settings = demo.as_ref().map(Demo::settings).unwrap_or_default();
    let mut programs = Programs::start(&binaries, &data, &database, [&api, &worker], &settings, interrupt)?;
    programs.wait_ready(&mut database)?;
    announce(&api, &worker, &database);
    if demo.is_some() {
        demo::announce(&api);
    }
    let _customers = demo.as_ref().map(|demo| demo.start_customers(&api, &data)).transpose()?;
    if let Some(exit_report) = watch(&mut programs, &mut database, interrupt)? {
        complain(format_args!("error: {exit_report}; stopping everything else"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until the user asks to stop (`None`) or a program ends.
fn watch(programs: &mut Programs<'_>, database: &mut Database, interrupt: &Interrupt) -> Result<Option<String>> {
    while !interrupt.is_asked() {
        if let Some(exit_report) = programs.first_exit(database)? {
            return Ok(Some(exit_report));
        }
        std::thread::sleep(POLL);
    }
    Ok(None)
}

fn announce(api: &Address, worker: &Address, database: &Database) {
    let (api, worker) = (api.for_people(), worker.for_people());
    say(format_args!(
        "
Orders is up. Ctrl-C stops it; the data stays.

  OpenAPI page   http://{api}/docs
  Metrics        http://{api}/metrics (JSON)
                 http://{api}/metrics/prometheus and http://{worker}/metrics/prometheus
  Database       {database}

Try it:

  curl -s -X POST http://{api}/order/create-order -H 'content-type: application/json' \\
    -d '{{\"user_id\": 1, \"item_ids\": [1, 2], \"total_amount\": 100.0}}'
",
        database = database.describe()
    ));
}
