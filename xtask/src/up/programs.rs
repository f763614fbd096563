//! Our own programs, running on a database.

use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::data_dir::DataDir;
use xtask::interrupt::Interrupt;
use xtask::output::{Label, complain, say};
use xtask::process::{Process, describe_exit};

use super::address::Address;
use crate::binaries::Binaries;
use crate::database::Database;

/// A program is ready within a second or two of its start, or never.
const READY_LIMIT: Duration = Duration::from_mins(1);

/// How much longer than their own grace period the programs may take before they are killed.
const KILL_MARGIN: Duration = Duration::from_secs(5);

/// The programs' own default of `SHUTDOWN_GRACE_SECS`.
const DEFAULT_GRACE_SECS: u64 = 25;

/// Brings the database to the schema that the programs expect.
pub(crate) fn migrate(binaries: &Binaries, data: &DataDir, database: &Database, interrupt: &Interrupt) -> Result<()> {
    say("== migrating the database");
    let mut command = Command::new(&binaries.api);
    command.arg("migrate").env("DATABASE_URL", database.url());
    let status = Process::start_labelled("orders-api migrate", data.mark(&mut command), Label::API)?.wait(interrupt)?;
    if !status.success() {
        bail!("orders-api migrate {}", describe_exit(status));
    }
    Ok(())
}

/// The API and the worker; dropping them lets both drain at once.
pub(crate) struct Programs<'a> {
    running: Vec<(Process, &'a Address)>,
    interrupt: Interrupt,
}

impl<'a> Programs<'a> {
    /// Starts both with these settings and our own environment, and copies their logs to our output.
    pub(crate) fn start(
        binaries: &Binaries,
        data: &DataDir,
        database: &Database,
        [api, worker]: [&'a Address; 2],
        settings: &[(&str, &str)],
        interrupt: &Interrupt,
    ) -> Result<Self> {
        say("== starting orders-api and orders-worker");
        let mut programs = Self { running: Vec::new(), interrupt: interrupt.clone() };
        for (name, path, label, address) in
            [("api", &binaries.api, Label::API, api), ("worker", &binaries.worker, Label::WORKER, worker)]
        {
            let mut command = Command::new(path);
            command.env("DATABASE_URL", database.url()).env(address.variable, &address.text);
            command.envs(settings.iter().copied());
            let process = Process::start_labelled(name, data.mark(&mut command), label)?;
            programs.running.push((process, address));
        }
        Ok(programs)
    }

    /// Waits until each answers that it is ready.
    pub(crate) fn wait_ready(&mut self, database: &mut Database) -> Result<()> {
        let interrupt = self.interrupt.clone();
        let mut last_answer = String::new();
        let ready = interrupt.wait_for(READY_LIMIT, || {
            if let Some(exit_report) = self.first_exit(database)? {
                bail!("{exit_report} before it was ready");
            }
            for (process, address) in &self.running {
                let answer = address.get("/readyz").unwrap_or_else(|| "no answer".to_owned());
                if !answer.starts_with("200") {
                    last_answer = format!("{}: {answer}", process.name());
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })?;
        ready.with_context(|| format!("not ready within {} s ({last_answer})", READY_LIMIT.as_secs()))
    }

    /// How the database ended or, if it still runs, the first program that has ended: programs may end because the
    /// database did.
    pub(crate) fn first_exit(&mut self, database: &mut Database) -> Result<Option<String>> {
        match database.exit_report()? {
            Some(exit_report) => Ok(Some(exit_report)),
            None => self.exit_report(),
        }
    }

    /// How the first program that has ended did so.
    pub(crate) fn exit_report(&mut self) -> Result<Option<String>> {
        for (process, _) in &mut self.running {
            if let Some(exit_report) = process.exit_report()? {
                return Ok(Some(exit_report));
            }
        }
        Ok(None)
    }
}

impl Drop for Programs<'_> {
    fn drop(&mut self) {
        say("== stopping orders-api and orders-worker");
        for (process, _) in &mut self.running {
            process.ask_to_stop();
        }
        let started = Instant::now();
        let limit = grace_period() + KILL_MARGIN;
        for (process, _) in &mut self.running {
            let rest = limit.saturating_sub(started.elapsed());
            if !process.ended_within(rest, || self.interrupt.is_impatient()) {
                process.kill();
                complain(format_args!("warning: {} did not stop in time and was killed", process.name()));
            }
        }
    }
}

/// How long the programs may take to drain.
fn grace_period() -> Duration {
    let seconds = env::var("SHUTDOWN_GRACE_SECS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(DEFAULT_GRACE_SECS))
}
