//! `cargo xtask contract`: whether the running API and its OpenAPI document say the same.

mod python;

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use self::python::Python;
use crate::binaries::Binaries;
use crate::checkout::Checkout;
use crate::database::{Choice, Source};
use crate::interrupt::Interrupt;
use crate::output::say;
use crate::process::{Process, ending};
use crate::test::run_dir::RunDir;
use crate::up::address::Address;
use crate::up::programs::{Programs, migrate};

/// What the checks need of the programs: orders of user 2 fail for good, so that there is something to retry.
const SETTINGS: [(&str, &str); 2] = [("SIMULATED_FAULTS", "reject=user:2"), ("RUST_LOG", "warn")];

/// What `contract` can be told on its command line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed on to `schemathesis run`, such as `--include-path /queue` or `--max-examples 10`
    #[arg(last = true)]
    passed_on: Vec<String>,
}

/// Checks the document, fuzzes the API by it, and places orders with a client that is generated from it.
///
/// Where no Python package can be had, nothing is checked, and that is said.
pub(crate) fn run(args: &Args, checkout: &Checkout, interrupt: &Interrupt) -> Result<ExitCode> {
    let python = match Python::prepare(checkout, interrupt)? {
        Ok(python) => python,
        Err(obstacle) => {
            say(format_args!("== skipped: contract ({obstacle})"));
            return Ok(ExitCode::SUCCESS);
        }
    };
    let binaries = Binaries::build_for_tests(checkout, interrupt)?;
    let run_dir = RunDir::create(checkout, interrupt)?;
    let (api, worker) = (Address::free("API_LISTEN")?, Address::free("WORKER_LISTEN")?);
    // A server of its own, as what is fuzzed may be left in any state.
    let source = Source::find(Choice::Private, "", interrupt)?;
    let mut database = source.start(checkout, run_dir.data(), interrupt)?;
    migrate(&binaries, run_dir.data(), &database, interrupt)?;
    let mut programs = Programs::start(&binaries, run_dir.data(), &database, [&api, &worker], &SETTINGS, interrupt)?;
    programs.wait_ready(&mut database)?;

    let url = format!("http://{}", api.for_people());
    for command in &mut checks(&python, checkout, &url, &args.passed_on) {
        check(command, interrupt)?;
        if let Some(obituary) = programs.obituary()? {
            bail!("{obituary} during the checks");
        }
    }
    say("== the API keeps its contract");
    Ok(ExitCode::SUCCESS)
}

/// The checks in their order, cheap ones first.
fn checks(python: &Python, checkout: &Checkout, url: &str, passed_on: &[String]) -> [Command; 6] {
    let folder = checkout.root().join("tests/contract");
    let document = checkout.root().join("docs/openapi.json");
    let client = checkout.target().join("contract/client");

    let mut valid = python.tool("openapi-spec-validator");
    valid.arg(&document);
    let mut examples = python.tool("python");
    examples.arg(folder.join("check_examples.py")).arg(&document);
    let mut generate = python.tool("openapi-python-client");
    generate.args(["generate", "--overwrite", "--fail-on-warning", "--meta", "none", "--path"]).arg(&document);
    generate.arg("--output-path").arg(client.join("orders_client"));
    let mut types = python.tool("mypy");
    types.arg("--config-file").arg(folder.join("mypy.ini"));
    types.arg("--cache-dir").arg(checkout.target().join("contract/mypy"));
    types.arg(client.join("orders_client")).arg(folder.join("place_an_order.py")).env("MYPYPATH", &client);
    let mut place = python.tool("python");
    place.arg(folder.join("place_an_order.py")).arg(url).env("PYTHONPATH", &client);
    let mut fuzz = python.tool("schemathesis");
    // From its own path the document would be read, and the path itself left out of the run.
    fuzz.current_dir(&folder).arg("run").arg(&document).arg("--url").arg(url).args(passed_on);
    [valid, examples, generate, types, place, fuzz]
}

/// Runs one check with its output shown.
fn check(command: &mut Command, interrupt: &Interrupt) -> Result<()> {
    let name = command.get_program().display().to_string();
    let name = name.rsplit('/').next().unwrap_or(&name);
    let arguments: Vec<_> = command.get_args().map(|argument| argument.display().to_string()).collect();
    say(format_args!("== {name} {}", arguments.join(" ")));
    let status = Process::start(name, command)?.wait(interrupt)?;
    if !status.success() {
        bail!("{name} {}", ending(status));
    }
    Ok(())
}
