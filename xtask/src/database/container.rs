//! MySQL in a container, with its data in a volume that outlives it.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::docker::{Engine, MYSQL_IMAGE};
use super::greeting::{loopback, server_version};
use super::own_address::{CONTAINER_PORT, address_of, pid_in};
use super::program::Maker;
use super::settings::{Purpose, options};
use crate::ask::ask;
use crate::checkout::Checkout;
use crate::data_dir::{DataDir, random_password};
use crate::interrupt::Interrupt;
use crate::output::{complain, say};
use crate::process::Process;

/// The first start initialises the data: some 20 s, a minute on a slow disk.
const READY_LIMIT: Duration = Duration::from_mins(3);

/// MySQL writes its dirty pages before it goes; Docker kills it after this.
const STOP_LIMIT_SECS: &str = "60";

/// The password is a label of the volume, so that it cannot be lost apart
/// from the data that asks for it. Who may read labels may read the data too.
const PASSWORD_LABEL: &str = "orders.password";

/// A running container; dropping it stops and removes it and keeps its volume, if it has one.
pub(crate) struct Container {
    engine: Engine,
    name: String,
    /// Who may do what this run needs.
    user: &'static str,
    password: String,
    address: SocketAddr,
    version: String,
    /// `docker wait`, which ends when the container does.
    watch: Option<Process>,
    /// Whether the data is in a volume that outlives the container.
    has_volume: bool,
    /// A volume made by this run, until its data is complete.
    unfinished_volume: bool,
}

impl Container {
    /// Starts MySQL on this checkout's volume, or takes over the container
    /// that a killed run left behind, and waits until it answers.
    pub(crate) fn start(engine: Engine, checkout: &Checkout, data: &DataDir, interrupt: &Interrupt) -> Result<Self> {
        let name = format!("orders-up-{}", checkout.id());
        say(format_args!("== starting {MYSQL_IMAGE} in the container {name}"));
        let (password, unfinished_volume) = volume(&engine, &name, interrupt)?;
        let mut container = Self::new(engine, name, "orders", password);
        (container.has_volume, container.unfinished_volume) = (true, unfinished_volume);
        if !container.is_running(interrupt)? {
            container.run(&[], interrupt)?;
        }
        container.watch(data, interrupt)?;
        Ok(container)
    }

    /// Starts MySQL without any data, to be measured, and waits until it answers.
    pub(crate) fn start_fresh(engine: Engine, name: String, data: &DataDir, interrupt: &Interrupt) -> Result<Self> {
        say(format_args!("== starting {MYSQL_IMAGE} in the container {name}"));
        let mut container = Self::new(engine, name, "root", random_password()?);
        container.run(&options(Maker::MySql, Purpose::Bench), interrupt)?;
        container.watch(data, interrupt)?;
        Ok(container)
    }

    fn new(engine: Engine, name: String, user: &'static str, password: String) -> Self {
        let (address, version, watch) = (loopback(0), String::new(), None);
        Self { engine, name, user, password, address, version, watch, has_volume: false, unfinished_volume: false }
    }

    /// Watches the container that was started, until it answers.
    fn watch(&mut self, data: &DataDir, interrupt: &Interrupt) -> Result<()> {
        let mut command = Command::new("docker");
        command.args(["wait", &self.name]).stdout(Stdio::piped());
        self.watch = Some(Process::start("docker wait", data.mark(&mut command))?);
        self.wait_ready(interrupt)
    }

    pub(crate) fn url(&self) -> String {
        format!("mysql://{}:{}@{}/orders?ssl-mode=PREFERRED", self.user, self.password, self.address)
    }

    /// The server's process, if it is one of this machine.
    pub(crate) fn pid(&self, interrupt: &Interrupt) -> Result<Option<u32>> {
        pid_in(&self.engine, &self.name, interrupt)
    }

    pub(crate) fn describe(&self) -> String {
        let name = &self.name;
        // In the container the variable holds the password: it need not be shown.
        let client = r#"sh -c 'MYSQL_PWD="$MYSQL_PASSWORD" mysql -uorders orders'"#;
        format!("{} on {}: docker exec -it {name} {client}", self.version, self.address)
    }

    pub(crate) fn exit_report(&mut self) -> Result<Option<String>> {
        let Some(watch) = &mut self.watch else {
            return Ok(None);
        };
        if watch.exit()?.is_none() {
            return Ok(None);
        }
        let mut code = String::new();
        if let Some(mut stdout) = watch.stdout() {
            std::io::Read::read_to_string(&mut stdout, &mut code)?;
        }
        Ok(Some(format!("the database container {} exited with code {}", self.name, code.trim())))
    }

    fn is_running(&self, interrupt: &Interrupt) -> Result<bool> {
        let state = self.engine.ask(&["inspect", "--format", "{{.State.Running}}", &self.name], interrupt)?;
        if state.ok && state.text != "true" {
            self.engine.remove_container(&self.name);
        }
        Ok(state.ok && state.text == "true")
    }

    fn run(&self, options: &[&str], interrupt: &Interrupt) -> Result<()> {
        let volume = format!("{}:/var/lib/mysql", self.name);
        let volume: &[&str] = if self.has_volume { &["--volume", &volume] } else { &[] };
        // The port is free by Docker's own choice; passwords go by the
        // environment, since everybody can read a command line.
        let publish = format!("127.0.0.1::{CONTAINER_PORT}");
        let mut command = Command::new("docker");
        command
            .args(["run", "--detach", "--name", &self.name])
            .args(volume)
            .args(["--publish", &publish, "--env", "MYSQL_DATABASE=orders", "--env", "MYSQL_USER=orders"])
            .args(["--env", "MYSQL_PASSWORD", "--env", "MYSQL_ROOT_PASSWORD", MYSQL_IMAGE])
            .args(options)
            .env("MYSQL_PASSWORD", &self.password)
            .env("MYSQL_ROOT_PASSWORD", &self.password);
        let answer = ask(&mut command, Duration::from_mins(1), interrupt)?;
        if !answer.ok {
            bail!("Docker cannot start {MYSQL_IMAGE}: {}", answer.last_line());
        }
        Ok(())
    }

    /// The address at which the server greets, and its version. The container's own comes first, which a program can
    /// reach where the engine runs on the same Linux: the published port is one of loopback, where the driver (sqlx
    /// 0.9.0, which does not set `TCP_NODELAY`) takes 40 ms longer for each large statement under TLS.
    fn greeting(&self, interrupt: &Interrupt) -> Result<Option<(SocketAddr, String)>> {
        let greets = |address: SocketAddr| Some((address, server_version(address)?));
        match address_of(&self.engine, &self.name, interrupt)?.and_then(greets) {
            Some(greeting) => Ok(Some(greeting)),
            None => Ok(greets(self.published_address(interrupt)?)),
        }
    }

    fn published_address(&self, interrupt: &Interrupt) -> Result<SocketAddr> {
        let answer = self.engine.ask(&["port", &self.name, &format!("{CONTAINER_PORT}/tcp")], interrupt)?;
        let port = answer.text.lines().next().and_then(|line| line.rsplit_once(':')?.1.parse().ok());
        port.map(loopback).with_context(|| format!("Docker published no port: {}", answer.last_line()))
    }

    /// Waits for a real query over TCP: the image first runs a temporary
    /// server, without TCP, that creates the user.
    fn wait_ready(&mut self, interrupt: &Interrupt) -> Result<()> {
        let query = r#"MYSQL_PWD="$MYSQL_PASSWORD" mysql -h127.0.0.1 -uorders -e 'select 1' orders"#;
        let ready = interrupt.wait_for(READY_LIMIT, || {
            if let Some(exit_report) = self.exit_report()? {
                let log = self.engine.ask(&["logs", "--tail", "1", &self.name], interrupt)?;
                bail!("{exit_report}: {}", log.last_line());
            }
            let answer = self.engine.ask(&["exec", &self.name, "sh", "-c", query], interrupt)?;
            if answer.ok { self.greeting(interrupt) } else { Ok(None) }
        })?;
        let name = &self.name;
        (self.address, self.version) = ready.with_context(|| {
            let limit = READY_LIMIT.as_secs();
            format!("MySQL did not answer within {limit} s; see `docker volume rm {name}` if its data is damaged")
        })?;
        self.unfinished_volume = false;
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        say("== stopping the database");
        if self.has_volume && !self.engine.order(&["stop", "--time", STOP_LIMIT_SECS, &self.name]) {
            complain(format_args!("warning: Docker could not stop the container {}", self.name));
        }
        self.engine.remove_container(&self.name);
        if self.unfinished_volume {
            // Half-initialised data would be taken for whole by the next run.
            self.engine.remove_volume(&self.name);
        }
    }
}

/// The password of the checkout's volume, and whether the volume is new.
fn volume(engine: &Engine, name: &str, interrupt: &Interrupt) -> Result<(String, bool)> {
    let format = format!("{{{{index .Labels \"{PASSWORD_LABEL}\"}}}}");
    let answer = engine.ask(&["volume", "inspect", "--format", &format, name], interrupt)?;
    if answer.ok {
        return Ok((answer.text, false));
    }
    let password = random_password()?;
    let label = format!("{PASSWORD_LABEL}={password}");
    let answer = engine.ask(&["volume", "create", "--label", &label, name], interrupt)?;
    if !answer.ok {
        bail!("Docker cannot create the volume {name}: {}", answer.last_line());
    }
    Ok((password, true))
}
