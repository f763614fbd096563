//! The system that the checks ask: an API and a worker on a database of their own.

use std::process::Command;

use anyhow::{Result, bail};

use crate::binaries::Binaries;
use crate::checkout::Checkout;
use crate::database::{Choice, Source};
use crate::interrupt::Interrupt;
use crate::output::say;
use crate::process::{Process, describe_exit};
use crate::test::run_dir::RunDir;
use crate::up::address::Address;
use crate::up::programs::{Programs, migrate};

/// What the checks need of the programs: orders of user 2 fail for good, so that there is something to retry.
const SETTINGS: [(&str, &str); 2] = [("SIMULATED_FAULTS", "reject=user:2"), ("RUST_LOG", "warn")];

/// A running system, while it is checked.
pub(super) struct System<'a> {
    /// The API's own address, without a path.
    pub(super) url: String,
    programs: Programs<'a>,
    interrupt: &'a Interrupt,
}

/// Lets `checks` ask a system that is started for them, and stopped when they are done.
pub(super) fn on_a_system(
    checkout: &Checkout,
    interrupt: &Interrupt,
    checks: impl FnOnce(&mut System<'_>) -> Result<()>,
) -> Result<()> {
    let binaries = Binaries::build_for_tests(checkout, interrupt)?;
    let run_dir = RunDir::create(checkout, interrupt)?;
    let (api, worker) = (Address::free("API_LISTEN")?, Address::free("WORKER_LISTEN")?);
    // A server of its own, since fuzzing may leave it in any state.
    let source = Source::find(Choice::Private, "", interrupt)?;
    let mut database = source.start(checkout, run_dir.data(), interrupt)?;
    migrate(&binaries, run_dir.data(), &database, interrupt)?;
    let mut programs = Programs::start(&binaries, run_dir.data(), &database, [&api, &worker], &SETTINGS, interrupt)?;
    programs.wait_ready(&mut database)?;
    checks(&mut System { url: format!("http://{}", api.for_people()), programs, interrupt })
}

impl System<'_> {
    /// Runs one check with its output shown. It fails where the check does, and where a program ended meanwhile.
    pub(super) fn check(&mut self, command: &mut Command) -> Result<()> {
        let name = command.get_program().display().to_string();
        let name = name.rsplit('/').next().unwrap_or(&name);
        let arguments: Vec<_> = command.get_args().map(|argument| argument.display().to_string()).collect();
        say(format_args!("== {name} {}", arguments.join(" ")));
        let status = Process::start(name, command)?.wait(self.interrupt)?;
        if !status.success() {
            bail!("{name} {}", describe_exit(status));
        }
        if let Some(exit_report) = self.programs.exit_report()? {
            bail!("{exit_report} during the checks");
        }
        Ok(())
    }
}
