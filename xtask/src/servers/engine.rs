//! The Docker engine.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::greeting::server_version;
use crate::ask::{Answer, ask};
use crate::interrupt::Interrupt;
use crate::output::say;
use crate::process::Process;

/// The MySQL that runs in containers.
pub const MYSQL_IMAGE: &str = "mysql:9.7";

/// An engine that takes longer to answer is of no use.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A registry that can be reached names the image's layers within a few seconds. The engine would keep trying for
/// minutes.
const REGISTRY_LIMIT: Duration = Duration::from_secs(30);

/// Enough for a slow connection: the largest image is about 300 MB compressed.
const PULL_LIMIT: Duration = Duration::from_mins(15);

/// Where MySQL listens in its container.
pub(super) const PORT: u16 = 3306;

/// What runs there.
pub(super) const SERVER: &str = "mysqld";

/// A Docker engine that answers.
#[derive(Clone, Debug)]
pub struct Engine {
    version: String,
}

impl Engine {
    /// Finds the engine that the `docker` command talks to.
    ///
    /// # Errors
    /// The reason why there is none, as one clause.
    pub fn find(interrupt: &Interrupt) -> Result<Self> {
        let mut command = Command::new("docker");
        command.args(["version", "--format", "{{.Server.Version}}"]);
        match ask(&mut command, ANSWER_LIMIT, interrupt) {
            Ok(answer) if answer.ok => Ok(Self { version: answer.text }),
            Err(error) if interrupt.is_asked() => Err(error),
            Ok(_) => bail!("no Docker engine answers"),
            Err(_) => bail!("no Docker engine is installed, or it does not answer"),
        }
    }

    /// Finds an engine that has `image` or can pull it.
    pub fn serving(image: &str, interrupt: &Interrupt) -> Result<Self> {
        let engine = Self::find(interrupt)?;
        engine.provide(image, interrupt)?;
        Ok(engine)
    }

    /// Pulls `image` unless it is there, giving up soon where no registry answers.
    pub fn provide(&self, image: &str, interrupt: &Interrupt) -> Result<()> {
        let inspect = self.ask(&["image", "inspect", "--format", "{{.Id}}", image], interrupt)?;
        if inspect.ok {
            return Ok(());
        }
        say(format_args!("== pulling {image}"));
        pull(image, interrupt).with_context(|| format!("the image {image} is not there and cannot be pulled"))
    }

    /// Runs a short `docker` command.
    pub fn ask(&self, args: &[&str], interrupt: &Interrupt) -> Result<Answer> {
        ask(Command::new("docker").args(args), ANSWER_LIMIT, interrupt)
    }

    /// The id of a container's process, if `program` has this id on this machine: an engine may run elsewhere, where
    /// the same id means another process.
    pub(super) fn pid_in(&self, container: &str, program: &str) -> Result<Option<u32>> {
        let answer = self.ask(&["inspect", "--format", "{{.State.Pid}}", container], &Interrupt::never())?;
        let is_meant =
            |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == program);
        Ok(answer.text.parse().ok().filter(is_meant))
    }

    /// The address of MySQL in a container that runs `program`, if the engine runs on this machine: that of an engine
    /// elsewhere may belong to another machine here.
    pub(super) fn address_of(&self, container: &str, program: &str) -> Result<Option<SocketAddr>> {
        if self.pid_in(container, program)?.is_none() {
            return Ok(None);
        }
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let answer = self.ask(&["inspect", "--format", format, container], &Interrupt::never())?;
        Ok(answer.text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, PORT)))
    }

    /// The address of MySQL in a container that was started elsewhere, if MySQL can be reached there.
    pub fn reached_address_of(&self, container: &str) -> Result<Option<SocketAddr>> {
        Ok(self.address_of(container, SERVER)?.filter(|address| server_version(*address).is_some()))
    }

    /// Removes what a test run started: the deployment and the container of its name, and the containers of single
    /// tests, whose names begin with it.
    pub fn remove_run(&self, name: &str) {
        // This works without a compose file: Docker knows a project by its labels.
        let _ = self.order(&["compose", "--project-name", name, "down", "--volumes", "--timeout", "5"]);
        let filter = format!("name=^/?{name}(-|$)");
        let list = self.ask(&["ps", "--all", "--quiet", "--filter", &filter], &Interrupt::never());
        for id in list.iter().flat_map(|answer| answer.text.lines()) {
            self.remove_container(id);
        }
    }

    /// Removes a container and its unnamed volumes, if it is there.
    pub(super) fn remove_container(&self, name: &str) {
        let _ = self.order(&["rm", "--force", "--volumes", name]);
    }

    /// Runs a `docker` command however long it takes, even after an interrupt, and returns its output.
    pub(super) fn order(&self, args: &[&str]) -> Result<String> {
        self.run(Command::new("docker").args(args), &Interrupt::never())
    }

    /// Runs a `docker` command however long it takes, and returns its output.
    #[expect(clippy::unused_self, reason = "the engine is the proof that there is one to ask")]
    pub(super) fn run(&self, command: &mut Command, interrupt: &Interrupt) -> Result<String> {
        let answer = ask(command.current_dir("/"), Duration::MAX, interrupt)?;
        let verb = command.get_args().next().unwrap_or_default().display();
        ensure!(answer.ok, "docker {verb}: {}", answer.last_line());
        Ok(answer.text)
    }

    /// The engine's version, such as "20.10.24".
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }
}

fn pull(image: &str, interrupt: &Interrupt) -> Result<()> {
    let mut command = Command::new("docker");
    command.args(["pull", image]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start("docker pull", &mut command)?;
    let (sender, progress) = mpsc::channel();
    let stdout = process.stdout();
    let printer = thread::spawn(move || {
        let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
        for line in lines.map_while(Result::ok) {
            say(format_args!("   {line}"));
            let _ = sender.send(());
        }
    });
    let stderr = process.stderr();
    let started = Instant::now();
    let mut is_reached = false;
    let status = interrupt.wait_for(PULL_LIMIT, || {
        is_reached |= progress.try_iter().count() > 0;
        if !is_reached && started.elapsed() > REGISTRY_LIMIT {
            bail!("no registry answered within {} s", REGISTRY_LIMIT.as_secs());
        }
        process.exit()
    })?;
    let status = status.with_context(|| format!("it took longer than {} s", PULL_LIMIT.as_secs()))?;
    let _ = printer.join();
    if !status.success() {
        let said = stderr.and_then(|stderr| BufReader::new(stderr).lines().map_while(Result::ok).last());
        bail!("{}", said.as_deref().unwrap_or("docker pull failed").trim());
    }
    Ok(())
}
