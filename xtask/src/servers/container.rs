//! MySQL in a container.

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::engine::{Engine, MYSQL_IMAGE, PORT, SERVER};
use super::greeting::server_version;
use super::runner::{Runner, Spec};
use super::settings::{Maker, Purpose, options};
use crate::addresses::{free_port, loopback};
use crate::data_dir::{DataDir, random_password};
use crate::interrupt::Interrupt;
use crate::process::Process;

/// A container's name for the address from which this machine reaches it, so that its server asks no name server.
pub const CLIENTS_NAME: &str = "clients-of-the-test";

/// The program of a container that only holds an address.
const HOLDER: &str = "sleep";

/// MySQL writes its dirty pages before it goes; Docker kills it after this.
const STOP_LIMIT_SECS: &str = "60";

/// A signal reaches the last of a server's threads in milliseconds, on a busy machine later.
const FREEZES_WITHIN: Duration = Duration::from_secs(30);

/// The password is a label of the volume, so that it is lost only together with the data that it protects. A user who
/// can read the label can read the data too.
const PASSWORD_LABEL: &str = "orders.password";

/// A container; dropping it removes it with its data, unless this is in a volume that outlives the run.
#[derive(Debug)]
pub(super) struct Container {
    engine: Engine,
    name: String,
    /// A second container, whose network this one shares to keep its address when it is started again: Docker gives the
    /// address of a container that has ended to the next one that starts.
    holder: Option<String>,
    published: SocketAddr,
    volume: Volume,
    /// `docker wait`, which ends when the container does.
    watch: Option<(Command, Process)>,
}

/// Where the data is.
#[derive(Debug, PartialEq)]
enum Volume {
    /// In the image's own volume, which goes with the container.
    Unnamed,
    /// In the volume of the container's name.
    Named,
    /// In that volume, which this run created, and not complete yet.
    Unfinished,
}

impl Container {
    /// Starts MySQL, and returns its password too.
    pub(super) fn start(
        engine: Engine,
        name: String,
        spec: &Spec<'_>,
        data: &DataDir,
        interrupt: &Interrupt,
    ) -> Result<(Self, String)> {
        spec.purpose.say(format_args!("== starting {MYSQL_IMAGE} in the container {name}"));
        let (password, volume) = match spec.purpose {
            Purpose::Use => volume(&engine, &name, interrupt)?,
            _ => (data.password()?, Volume::Unnamed),
        };
        let holder = (spec.purpose == Purpose::OneTest).then(|| format!("{name}-network"));
        let published = loopback(free_port()?);
        let mut container = Self { engine, name, holder, published, volume, watch: None };
        if container.volume == Volume::Named {
            // A killed run leaves its container behind.
            let _ = container.stop();
            container.engine.remove_container(&container.name);
        }
        container.run(spec, &password, interrupt)?;
        let mut wait = Command::new("docker");
        data.mark(&mut wait).args(["wait", &container.name]).stdout(Stdio::piped());
        let watch = data.start("docker wait", &mut wait)?;
        container.watch = Some((wait, watch));
        Ok((container, password))
    }

    fn run(&self, spec: &Spec<'_>, password: &str, interrupt: &Interrupt) -> Result<()> {
        let mut network = format!("--publish={}:{PORT}", self.published);
        if let Some(holder) = &self.holder {
            let clients = format!("--add-host={CLIENTS_NAME}:host-gateway");
            let sleep = ["--entrypoint", HOLDER, MYSQL_IMAGE, "infinity"];
            self.engine.order(&[&["run", "--detach", "--name", holder, &network, &clients][..], &sleep].concat())?;
            network = format!("--network=container:{holder}");
        }
        let volume = format!("--volume={}:/var/lib/mysql", self.name);
        let mut command = Command::new("docker");
        command
            .args(["run", "--detach", "--name", &self.name, &network])
            .args((self.volume != Volume::Unnamed).then_some(volume))
            .args(spec.paths.iter().map(|path| format!("--volume={0}:{0}:ro", path.display())))
            .args(spec.env.iter().map(|(name, value)| format!("--env={name}={value}")))
            .args(["--env=MYSQL_DATABASE=orders", "--env=MYSQL_USER=orders", "--env=MYSQL_INITDB_SKIP_TZINFO=1"])
            // Passwords go by the environment, since everybody can read a command line.
            .args(["--env=MYSQL_PASSWORD", "--env=MYSQL_ROOT_PASSWORD", "--env=MYSQL_ROOT_HOST=%", MYSQL_IMAGE])
            .args(options(Maker::MySql, spec.purpose))
            .args(spec.options)
            .envs([("MYSQL_PASSWORD", password), ("MYSQL_ROOT_PASSWORD", password)]);
        self.engine.run(&mut command, interrupt).map(drop)
    }

    /// Runs a `docker` command on this container.
    fn order(&self, args: &[&str]) -> Result<String> {
        self.engine.order(&[args, &[&self.name]].concat())
    }
}

impl Runner for Container {
    /// The image first runs a server without TCP, which creates the users, so the server that greets is the real one.
    /// If the engine runs on this Linux machine, programs can reach the container's own address. It is better than the
    /// published port, which is on loopback: there the driver (sqlx 0.9.0, which does not set `TCP_NODELAY`) takes 40
    /// ms longer for each large statement under TLS.
    fn greeting(&mut self) -> Result<Option<(SocketAddr, String)>> {
        let Some(version) = server_version(self.published) else {
            return Ok(None);
        };
        if self.volume == Volume::Unfinished {
            self.volume = Volume::Named;
        }
        let own = match &self.holder {
            Some(holder) => self.engine.address_of(holder, HOLDER),
            None => self.engine.address_of(&self.name, SERVER),
        };
        let own = own?.filter(|address| server_version(*address).is_some());
        Ok(Some((own.unwrap_or(self.published), version)))
    }

    fn exit_report(&mut self) -> Result<Option<String>> {
        let Some((_, watch)) = &mut self.watch else {
            return Ok(None);
        };
        if watch.exit()?.is_none() {
            return Ok(None);
        }
        let mut code = String::new();
        if let Some(mut stdout) = watch.stdout() {
            stdout.read_to_string(&mut code)?;
        }
        Ok(Some(format!("the database container {} exited with code {}", self.name, code.trim())))
    }

    fn pid(&self) -> Result<Option<u32>> {
        self.engine.pid_in(&self.name, SERVER)
    }

    fn log(&self) -> String {
        // The server writes to stderr, the image's script also to stdout.
        self.engine
            .run(Command::new("sh").args(["-c", r#"docker logs "$0" 2>&1"#, &self.name]), &Interrupt::never())
            .unwrap_or_default()
    }

    fn evidence(&self) -> String {
        match self.volume {
            Volume::Unnamed => format!("the container {}", self.name),
            _ => format!("its data: the Docker volume {0}, which `docker volume rm {0}` deletes", self.name),
        }
    }

    fn client(&self, _version: &str) -> String {
        // A variable in the container holds the password, so it need not be shown.
        let client = r#"sh -c 'MYSQL_PWD="$MYSQL_PASSWORD" mysql -uorders orders'"#;
        format!("docker exec -it {} {client}", self.name)
    }

    fn stop(&mut self) -> Result<()> {
        if self.volume == Volume::Unfinished {
            // The image's script does not pass the signal on, and nobody needs the data.
            return self.kill();
        }
        self.order(&["stop", "--time", STOP_LIMIT_SECS]).map(drop)
    }

    fn kill(&mut self) -> Result<()> {
        self.order(&["kill"]).map(drop)
    }

    fn start_again(&mut self) -> Result<()> {
        self.order(&["start"])?;
        self.watch.as_mut().map_or(Ok(()), |(wait, watch)| watch.start_again(wait))
    }

    /// By a signal: `docker pause` now and then cannot freeze a server that is busy ("unable to freeze").
    fn freeze(&mut self) -> Result<()> {
        self.order(&["kill", "--signal", "STOP"])?;
        let is_stopped = |process: &str| process.split_whitespace().last().is_some_and(|state| state.starts_with('T'));
        let frozen = Interrupt::never().wait_for(FREEZES_WITHIN, || {
            let processes = self.engine.order(&["top", &self.name, "-o", "pid,stat"])?;
            Ok(processes.lines().skip(1).all(is_stopped).then_some(()))
        })?;
        frozen.with_context(|| format!("the container {} does not freeze", self.name))
    }

    fn thaw(&mut self) -> Result<()> {
        self.order(&["kill", "--signal", "CONT"]).map(drop)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.volume == Volume::Named {
            let _ = self.stop();
        }
        for name in [Some(&self.name), self.holder.as_ref()].into_iter().flatten() {
            self.engine.remove_container(name);
        }
        if self.volume == Volume::Unfinished {
            // The next run would take half-initialised data for complete.
            let _ = self.engine.order(&["volume", "rm", "--force", &self.name]);
        }
    }
}

/// The password of the checkout's volume, and the volume's state.
fn volume(engine: &Engine, name: &str, interrupt: &Interrupt) -> Result<(String, Volume)> {
    let format = format!("{{{{index .Labels \"{PASSWORD_LABEL}\"}}}}");
    let answer = engine.ask(&["volume", "inspect", "--format", &format, name], interrupt)?;
    if answer.ok {
        return Ok((answer.text, Volume::Named));
    }
    let password = random_password()?;
    let label = format!("{PASSWORD_LABEL}={password}");
    let created = engine.ask(&["volume", "create", "--label", &label, name], interrupt)?;
    ensure!(created.ok, "docker volume create: {}", created.last_line());
    Ok((password, Volume::Unfinished))
}
