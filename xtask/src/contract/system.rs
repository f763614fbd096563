//! The system that is checked: an API and a worker on a database of their own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use xtask::interrupt::Interrupt;
use xtask::output::say;
use xtask::process::{Process, describe_exit};
use xtask::servers::{Choice, Purpose, Source};

use crate::binaries::Binaries;
use crate::checkout::Checkout;
use crate::database::Database;
use crate::test::run_dir::RunDir;
use crate::up::address::Address;
use crate::up::programs::{Programs, migrate};

/// Orders of user 2 fail permanently, so that the checks have orders to retry.
const SETTINGS: [(&str, &str); 2] = [("SIMULATED_FAULTS", "reject=user:2"), ("RUST_LOG", "warn")];

/// A running system, while it is checked.
pub(super) struct System<'a> {
    /// The API's own address, without a path.
    pub(super) url: String,
    /// The worker's program.
    pub(super) worker: PathBuf,
    programs: Programs<'a>,
    interrupt: &'a Interrupt,
}

/// Starts a system, runs `checks` on it, and stops it.
pub(super) fn on_a_system(
    checkout: &Checkout,
    interrupt: &Interrupt,
    checks: impl FnOnce(&mut System<'_>) -> Result<()>,
) -> Result<()> {
    let binaries = Binaries::build(checkout, interrupt)?;
    let run_dir = RunDir::create(checkout, interrupt)?;
    let (api, worker) = (Address::free("API_LISTEN")?, Address::free("WORKER_LISTEN")?);
    // A server of the run's own, because fuzzing may leave it in any state.
    let source = Source::find(Choice::Private, "", interrupt)?;
    let mut database = Database::start(source, Purpose::Use, run_dir.name_container()?, run_dir.data(), interrupt)?;
    migrate(&binaries, run_dir.data(), &database, interrupt)?;
    let mut programs = Programs::start(&binaries, run_dir.data(), &database, [&api, &worker], &SETTINGS, interrupt)?;
    programs.wait_ready(&mut database)?;
    let (url, worker) = (format!("http://{}", api.for_people()), binaries.worker.clone());
    checks(&mut System { url, worker, programs, interrupt })
}

impl System<'_> {
    /// Runs one check and shows its output. Fails if the check does, or if a program of the system ended meanwhile.
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
