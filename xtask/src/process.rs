//! Programs that we run. None outlives its [`Process`].

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, test_kill_process_group, waitid,
};

use crate::interrupt::{Interrupt, POLL};
use crate::output::Label;

/// Long enough for a compiler or a test binary to end; they have nothing to save.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A running program; dropping it stops the program, and with it the group that it leads.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    leads_group: bool,
    exit: Option<ExitStatus>,
    logs: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `command`, without a terminal to read from, in a process group of its own, so that a terminal's Ctrl-C
    /// reaches only us.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        Self::spawn(name, command.process_group(0), true)
    }

    /// Starts `command` in our process group, with which it ends.
    pub fn start_in_our_group(name: &str, command: &mut Command) -> Result<Self> {
        Self::spawn(name, command, false)
    }

    /// Starts a program that has ended again, in the same kind of group.
    pub fn start_again(&mut self, command: &mut Command) -> Result<()> {
        *self = Self::spawn(&self.name, command, self.leads_group)?;
        Ok(())
    }

    fn spawn(name: &str, command: &mut Command, leads_group: bool) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), child, leads_group, exit: None, logs: Vec::new() })
    }

    /// Starts `command` and copies its output, line by line, behind `label`.
    pub fn start_labelled(name: &str, command: &mut Command, label: Label) -> Result<Self> {
        let mut process = Self::start(name, command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        process.logs.extend(process.child.stdout.take().map(|log| label.copy(log)));
        process.logs.extend(process.child.stderr.take().map(|log| label.copy(log)));
        Ok(process)
    }

    /// The name that the program was started under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Takes the piped output, to be read by the caller.
    pub fn stdout(&mut self) -> Option<impl Read + Send + use<>> {
        self.child.stdout.take()
    }

    /// Takes the piped errors, to be read by the caller.
    pub fn stderr(&mut self) -> Option<impl Read + Send + use<>> {
        self.child.stderr.take()
    }

    /// How the program ended, if it has.
    pub fn exit(&mut self) -> Result<Option<ExitStatus>> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?;
        }
        Ok(self.exit)
    }

    /// How the program ended, as a clause such as "worker was killed (signal 9)"; `None` while it runs.
    pub fn exit_report(&mut self) -> Result<Option<String>> {
        let Some(status) = self.exit()? else {
            return Ok(None);
        };
        self.finish_logs();
        Ok(Some(format!("{} {}", self.name, describe_exit(status))))
    }

    /// Waits for the program to end. Dropping it after an interrupt stops it.
    pub fn wait(&mut self, interrupt: &Interrupt) -> Result<ExitStatus> {
        let status = interrupt.wait_for(Duration::MAX, || self.exit())?;
        self.finish_logs();
        status.context("an endless wait ended")
    }

    /// Asks the program to end, by SIGTERM, and returns at once.
    pub fn ask_to_stop(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Waits until the whole group has ended, and returns whether it has: not if `limit` passed, or `is_over`, before.
    pub fn ended_within(&mut self, limit: Duration, is_over: impl Fn() -> bool) -> bool {
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

    /// Stops the program by SIGSTOP; see [`freeze`].
    pub fn freeze(&mut self) -> Result<()> {
        freeze(self.pid()).with_context(|| format!("cannot freeze {}", self.name))
    }

    /// Lets the frozen program go on where it was.
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Ends the whole group at once, by SIGKILL.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
        self.finish_logs();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether the program, or a child that it left behind in its group, still runs.
    fn is_running(&mut self) -> bool {
        // `exit` reaps the program itself, so only children can be left in the group.
        matches!(self.exit(), Ok(None)) || (self.leads_group && test_kill_process_group(self.pid()).is_ok())
    }

    /// A process keeps its id until it is reaped, and a group while it has members. We check right before we signal, so
    /// no other process is hit.
    fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            let send = if self.leads_group { kill_process_group } else { kill_process };
            let _ = send(self.pid(), signal);
        }
    }

    /// Lets the last lines of the log appear before anything is said about the end.
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

/// Stops a child process by SIGSTOP. Returns when the last of its threads has stopped.
pub fn freeze(process: Pid) -> Result<()> {
    kill_process(process, Signal::STOP)?;
    let stopped_or_ended = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(process), stopped_or_ended)?;
    ensure!(status.is_some_and(|status| status.stopped()), "it has ended");
    Ok(())
}

/// How a program ended: "exited with code 2", "was killed (signal 9)".
#[must_use]
pub fn describe_exit(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed (signal {signal})"),
        (None, None) => "ended".to_owned(),
    }
}
