//! The programs of the release before, which the suite runs beside today's on one database.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::ask::ask;
use crate::checkout::Checkout;
use crate::interrupt::Interrupt;
use crate::output::say;
use crate::process::{Process, describe_exit};

/// The commit whose programs must get along with today's: the one that squashed the schema, until a release is tagged.
/// Each release moves it to itself.
const COMMIT: &str = "2317636a6f3a84f0371e6d0425699f7c8fdea453";

/// Names the folder of its programs to the tests.
const FOLDER_VARIABLE: &str = "ORDERS_TEST_PREVIOUS_RELEASE";

/// Reading a commit takes milliseconds, and seconds from a slow disk.
const GIT_LIMIT: Duration = Duration::from_mins(1);

/// Why its programs are not built; `None` where they are.
pub(super) fn obstacle(is_wanted: bool, checkout: &Checkout, interrupt: &Interrupt) -> Result<Option<String>> {
    if !is_wanted {
        return Ok(Some("--previous builds that release and tries it".to_owned()));
    }
    let commit = format!("{COMMIT}^{{commit}}");
    match ask(git(checkout).args(["cat-file", "-e", &commit]), GIT_LIMIT, interrupt) {
        Ok(answer) if answer.ok => Ok(None),
        Ok(answer) => Ok(Some(format!("commit {} is not in this checkout: {}", short(), answer.last_line()))),
        Err(error) => {
            interrupt.check()?;
            Ok(Some(format!("{error:#}")))
        }
    }
}

/// Builds the programs unless an earlier run has, and tells the tests where they are.
pub(super) fn provide(checkout: &Checkout, cargo: &mut Command, interrupt: &Interrupt) -> Result<()> {
    let home = checkout.target().join("previous").join(short());
    let programs = home.join("target/debug");
    cargo.env(FOLDER_VARIABLE, &programs);
    if ["orders-api", "orders-worker"].iter().all(|name| programs.join(name).is_file()) {
        return Ok(());
    }
    say(format_args!("== building the programs of the release before ({})", short()));
    let source = extract(checkout, home.join("source"), interrupt)?;
    let mut build = checkout.cargo();
    let target = home.join("target");
    build
        .current_dir(source)
        .args(["build", "--locked", "--package", "orders-api", "--package", "orders-worker", "--bins"])
        // Nothing is shared with today's build. Cargo tells the packages of two workspaces apart by their places in them,
        // which are the same, so that it would take what one built for what the other wants.
        .env("CARGO_BUILD_BUILD_DIR", &target)
        .env("CARGO_TARGET_DIR", &target);
    let status = Process::start("cargo build", &mut build)?.wait(interrupt)?;
    if !status.success() {
        bail!("cargo build {}", describe_exit(status));
    }
    Ok(())
}

/// Writes the files of the commit into `source`, and leaves the checkout and its index alone.
fn extract(checkout: &Checkout, source: PathBuf, interrupt: &Interrupt) -> Result<PathBuf> {
    fs::create_dir_all(&source).with_context(|| format!("cannot use the folder {}", source.display()))?;
    let archive = source.with_extension("tar");
    run(git(checkout).args(["archive", "--output"]).arg(&archive).arg(COMMIT), interrupt)?;
    run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&source), interrupt)?;
    Ok(source)
}

fn run(command: &mut Command, interrupt: &Interrupt) -> Result<()> {
    let answer = ask(command, GIT_LIMIT, interrupt)?;
    if !answer.ok {
        bail!("{}: {}", command.get_program().display(), answer.last_line());
    }
    Ok(())
}

fn git(checkout: &Checkout) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(checkout.root());
    git
}

fn short() -> &'static str {
    COMMIT.get(..7).unwrap_or(COMMIT)
}
