//! `cargo xtask contract`: whether the running API and its OpenAPI document agree.
//!
//! It validates the document and its examples, generates a client, checks the client's types and places orders with it,
//! and fuzzes the API with Schemathesis: all checks and phases, valid and invalid data, the same requests each time.
//! It also has the reference library of Standard Webhooks verify what the worker pushes (`verify_push.py`).
//! `hooks.py` in `tests/contract/` tells it what the document does not say of a request, `requirements.txt` pins its
//! tools by hash, and `go.yaml` and `java.yaml` say how `--clients` generates.

mod clients;
mod python;
mod system;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;
use xtask::interrupt::Interrupt;
use xtask::output::say;

use self::clients::Clients;
use self::python::{Packages, Python};
use self::system::on_a_system;
use crate::checkout::Checkout;

/// The arguments of `contract`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Instead, generate Go and Java clients, compile them, and place orders with them
    #[arg(long, conflicts_with = "passed_on")]
    clients: bool,

    /// Passed on to `schemathesis run`, such as `--include-path /queue` or `--max-examples 10`
    #[arg(last = true)]
    passed_on: Vec<String>,
}

/// Checks the document, fuzzes the API by it, and places orders with a client generated from it; with `--clients`, does
/// only the last, in other languages.
///
/// If a tool is missing and cannot be installed, it says so and checks nothing.
pub(crate) fn run(args: &Args, checkout: &Checkout, interrupt: &Interrupt) -> Result<ExitCode> {
    if args.clients {
        use_clients(checkout, interrupt)?;
    } else {
        check(&args.passed_on, checkout, interrupt)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn use_clients(checkout: &Checkout, interrupt: &Interrupt) -> Result<()> {
    match Clients::prepare(checkout, interrupt)? {
        Ok(clients) => {
            on_a_system(checkout, interrupt, |system| clients.check(system))?;
            say("== generated Go and Java clients lose no digit");
        }
        Err(obstacle) => say(format_args!("== NOT TESTED: generated Go and Java clients ({obstacle})")),
    }
    Ok(())
}

fn check(passed_on: &[String], checkout: &Checkout, interrupt: &Interrupt) -> Result<()> {
    match Python::prepare(&Packages::CHECKS, checkout, interrupt)? {
        Ok(python) => {
            on_a_system(checkout, interrupt, |system| {
                let url = system.url.clone();
                system.check(&mut verify_push(&python, checkout, &system.worker))?;
                checks(&python, checkout, &url, passed_on).iter_mut().try_for_each(|check| system.check(check))
            })?;
            say("== the API keeps its contract");
        }
        Err(obstacle) => say(format_args!("== skipped: contract ({obstacle})")),
    }
    Ok(())
}

/// Verifies what the worker pushes with the library of Standard Webhooks.
fn verify_push(python: &Python, checkout: &Checkout, worker: &Path) -> Command {
    let mut verify = python.tool("python");
    verify.arg(checkout.root().join("tests/contract/verify_push.py")).arg(worker);
    verify
}

/// The checks in their order, cheap ones first.
fn checks(python: &Python, checkout: &Checkout, url: &str, passed_on: &[String]) -> [Command; 7] {
    let folder = checkout.root().join("tests/contract");
    let document = checkout.root().join("docs/openapi.json");
    let client = checkout.target().join("contract/client");

    let mut valid = python.tool("openapi-spec-validator");
    valid.arg(&document);
    let mut valid_3_0 = python.tool("python");
    valid_3_0.arg(folder.join("validate_3_0.py")).arg(url);
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
    // Given the document's path in the API, schemathesis would read it there, but not test that path.
    fuzz.current_dir(&folder).arg("run").arg(&document).arg("--url").arg(url).args(passed_on);
    [valid, valid_3_0, examples, generate, types, place, fuzz]
}
