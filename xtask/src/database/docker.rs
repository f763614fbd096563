//! The Docker engine, and whether it can serve.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::ask::{Answer, ask};
use crate::interrupt::Interrupt;
use crate::output::say;
use crate::process::Process;

/// The MySQL that `up` and the tests run in a container.
pub(crate) const MYSQL_IMAGE: &str = "mysql:9.7";

/// The label by which a test marks a container of its own with the run's name.
const TEST_RUN_LABEL: &str = "orders.test-run";

/// An engine that does not answer within this is as good as none.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A registry that can be reached names the image's layers within a few
/// seconds; the engine alone would try for minutes.
const REGISTRY_LIMIT: Duration = Duration::from_secs(30);

/// Enough for a slow line: the largest image is some 300 MB compressed.
const PULL_LIMIT: Duration = Duration::from_mins(15);

/// A Docker engine that answers.
#[derive(Clone)]
pub(crate) struct Engine {
    version: String,
}

impl Engine {
    /// Finds the engine that the `docker` command talks to.
    ///
    /// # Errors
    /// Says in one clause why there is none.
    pub(crate) fn find(interrupt: &Interrupt) -> Result<Self> {
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
    pub(crate) fn serving(image: &str, interrupt: &Interrupt) -> Result<Self> {
        let engine = Self::find(interrupt)?;
        engine.provide(image, interrupt)?;
        Ok(engine)
    }

    /// Pulls `image` unless it is there, giving up soon where no registry answers.
    pub(crate) fn provide(&self, image: &str, interrupt: &Interrupt) -> Result<()> {
        let inspect = self.ask(&["image", "inspect", "--format", "{{.Id}}", image], interrupt)?;
        if inspect.ok {
            return Ok(());
        }
        say(format_args!("== pulling {image}"));
        pull(image, interrupt).with_context(|| format!("the image {image} is not there and cannot be pulled"))
    }

    /// What `docker` answers to a short command.
    #[expect(clippy::unused_self, reason = "the engine is the proof that there is one to ask")]
    pub(crate) fn ask(&self, args: &[&str], interrupt: &Interrupt) -> Result<Answer> {
        ask(Command::new("docker").args(args), ANSWER_LIMIT, interrupt)
    }

    /// Removes a container and its unnamed volumes, if it is there.
    pub(crate) fn remove_container(&self, name: &str) {
        self.order(&["rm", "--force", "--volumes", name]);
    }

    /// Removes the containers that single tests of the run `name` started for themselves.
    pub(crate) fn remove_own_servers(&self, name: &str) {
        let filter = format!("label={TEST_RUN_LABEL}={name}");
        let list = self.ask(&["ps", "--all", "--quiet", "--filter", &filter], &Interrupt::never());
        for id in list.iter().flat_map(|answer| answer.text.lines()) {
            self.remove_container(id);
        }
    }

    /// Removes a volume, if it is there.
    pub(crate) fn remove_volume(&self, name: &str) {
        self.order(&["volume", "rm", "--force", name]);
    }

    /// Removes whatever is left of a compose deployment, with its volumes.
    pub(crate) fn remove_deployment(&self, project: &str) {
        self.order(&["compose", "--project-name", project, "down", "--volumes", "--timeout", "5"]);
    }

    /// Has `docker` clean up, interrupted or not; returns whether it could.
    #[expect(clippy::unused_self, reason = "the engine is the proof that there is one to ask")]
    pub(crate) fn order(&self, args: &[&str]) -> bool {
        let mut command = Command::new("docker");
        // Nor does it read a compose file: a project goes by its labels.
        command.args(args).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // In a group of its own, so that a second Ctrl-C does not reach it.
        command.process_group(0).status().is_ok_and(|status| status.success())
    }

    /// The engine's version, such as "20.10.24".
    pub(crate) fn version(&self) -> &str {
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
