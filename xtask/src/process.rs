//! Programs that xtask runs: each in a process group of its own, so that a
//! terminal's Ctrl-C reaches only xtask, and none outlives its [`Process`].

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::interrupt::{Interrupt, POLL};
use crate::output::Label;

/// Long enough for a compiler or a test binary to go; they hold nothing.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A running program; dropping it stops the whole group.
pub(crate) struct Process {
    name: String,
    child: Child,
    group: Pid,
    exit: Option<ExitStatus>,
    logs: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `command` without a terminal to read from.
    pub(crate) fn start(name: &str, command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), group: Pid::from_child(&child), child, exit: None, logs: Vec::new() })
    }

    /// Starts `command` and copies its output, line by line, behind `label`.
    pub(crate) fn start_labelled(name: &str, command: &mut Command, label: Label) -> Result<Self> {
        let mut process = Self::start(name, command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        process.logs.extend(process.child.stdout.take().map(|log| label.copy(log)));
        process.logs.extend(process.child.stderr.take().map(|log| label.copy(log)));
        Ok(process)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Takes the piped output, to be read by the caller.
    pub(crate) fn stdout(&mut self) -> Option<impl Read + Send + use<>> {
        self.child.stdout.take()
    }

    /// Takes the piped errors, to be read by the caller.
    pub(crate) fn stderr(&mut self) -> Option<impl Read + Send + use<>> {
        self.child.stderr.take()
    }

    /// How the program ended, if it has.
    pub(crate) fn exit(&mut self) -> Result<Option<ExitStatus>> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?;
        }
        Ok(self.exit)
    }

    /// One clause about the program's end, such as "worker was killed (signal 9)".
    pub(crate) fn exit_report(&mut self) -> Result<Option<String>> {
        let Some(status) = self.exit()? else {
            return Ok(None);
        };
        self.finish_logs();
        Ok(Some(format!("{} {}", self.name, describe_exit(status))))
    }

    /// Waits for the end; on an interrupt the program is stopped.
    pub(crate) fn wait(&mut self, interrupt: &Interrupt) -> Result<ExitStatus> {
        let status = interrupt.wait_for(Duration::MAX, || self.exit())?;
        self.finish_logs();
        status.context("an endless wait ended")
    }

    /// Asks the program to end, by SIGTERM, and returns at once.
    pub(crate) fn ask_to_stop(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Waits until the whole group, asked to stop, has ended; gives up when
    /// `limit` has passed or `is_over` says so. Returns whether it has ended.
    pub(crate) fn ended_within(&mut self, limit: Duration, is_over: impl Fn() -> bool) -> bool {
        let started = Instant::now();
        while self.is_running() {
            if started.elapsed() >= limit || is_over() {
                return false;
            }
            thread::sleep(POLL);
        }
        self.finish_logs();
        true
    }

    /// Ends the whole group at once, by SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
        self.finish_logs();
    }

    /// Whether the program, or a child that it left behind, still runs.
    fn is_running(&mut self) -> bool {
        // Looking reaps the program itself; what then answers is its children.
        matches!(self.exit(), Ok(None)) || test_kill_process_group(self.group).is_ok()
    }

    /// The group's number stays taken for as long as it has members, and we
    /// look right before we signal: no stranger is hit.
    fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            let _ = kill_process_group(self.group, signal);
        }
    }

    /// Lets the last lines of the log out before anything is said about the end.
    fn finish_logs(&mut self) {
        let started = Instant::now();
        while self.logs.iter().any(|log| !log.is_finished()) && started.elapsed() < Duration::from_secs(1) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            self.ask_to_stop();
            if !self.ended_within(STOP_LIMIT, || false) {
                self.kill();
            }
        }
    }
}

/// How a program ended: "exited with code 2", "was killed (signal 9)".
pub(crate) fn describe_exit(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed (signal {signal})"),
        (None, None) => "ended".to_owned(),
    }
}
