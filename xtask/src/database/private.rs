//! A server process of our own, on a free port.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::greeting::server_version;
use super::own_address::IMPATIENT_RESOLVER;
use super::program::Program;
use super::settings::{Purpose, client_options, options, setup};
use crate::data_dir::DataDir;
use crate::interrupt::Interrupt;
use crate::output::{complain, say};
use crate::process::Process;

/// A start after a kill first repairs the data from its log.
const READY_LIMIT: Duration = Duration::from_mins(3);

/// The server writes its dirty pages before it goes.
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// A start that is interrupted is a matter of a second, unless it repairs data.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Between our choice of a free port and its use, somebody may take it.
const PORT_ATTEMPTS: u32 = 5;

/// A running server; dropping it stops it.
pub(crate) struct Server {
    process: Process,
    purpose: Purpose,
    address: SocketAddr,
    password: String,
    version: String,
    client_options: PathBuf,
}

impl Server {
    /// Starts a server on the data in `data`, made if missing, and waits until it answers.
    pub(crate) fn start(program: &Program, data: &DataDir, purpose: Purpose, interrupt: &Interrupt) -> Result<Self> {
        let folder = program.initialise(data, interrupt)?;
        say(format_args!("== starting {}", program.path.display()));
        let password = data.password()?;
        let setup = data.write_secret("setup.sql", &setup(purpose, &password, program.maker)?)?;
        let log = data.path().join("server.log");
        for _ in 0..PORT_ATTEMPTS {
            let address = free_address(purpose.listen_on())?;
            let client_options = data.write_secret("client.cnf", &client_options(address, &password))?;
            let mut command = command(program, purpose, &folder, address);
            command.arg(format!("--init-file={}", setup.display()));
            let process = spawn(data.mark(&mut command), &log)?;
            let version = String::new();
            let mut server = Self { process, purpose, address, password: password.clone(), version, client_options };
            if server.wait_ready(&log, interrupt)? {
                return Ok(server);
            }
        }
        bail!("each of {PORT_ATTEMPTS} free ports was taken before the database had it")
    }

    /// Waits for the server's greeting; false where its port was taken.
    fn wait_ready(&mut self, log: &Path, interrupt: &Interrupt) -> Result<bool> {
        let version = interrupt.wait_for(READY_LIMIT, || {
            if self.process.exit()?.is_some() {
                return Ok(Some(None));
            }
            Ok(server_version(self.address).map(Some))
        })?;
        match version {
            Some(Some(version)) => self.version = version,
            Some(None) if port_was_taken(log) => return Ok(false),
            Some(None) => bail!("{}: {}", self.exit_report()?.unwrap_or_default(), first_error(log)),
            None => {
                let limit = READY_LIMIT.as_secs();
                bail!("the database did not answer within {limit} s; its log: {}", log.display())
            }
        }
        Ok(true)
    }

    /// Waits until a server that is being stopped has started: MariaDB, asked
    /// to stop before, hangs for good.
    fn let_start(&mut self) {
        let address = self.address;
        let _ = self.process.ended_within(START_LIMIT, || server_version(address).is_some());
    }

    pub(crate) fn url(&self) -> String {
        format!("mysql://orders:{}@{}/{}", self.password, self.address, self.purpose.database())
    }

    pub(crate) fn describe(&self) -> String {
        let options = self.client_options.display();
        let client = if self.version.starts_with("MariaDB") { "mariadb" } else { "mysql" };
        format!("{} on {}: {client} --defaults-extra-file='{options}' orders", self.version, self.address)
    }

    /// Whether the server takes its clients for some of another machine.
    pub(crate) fn is_off_loopback(&self) -> bool {
        !self.address.ip().is_loopback()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn exit_report(&mut self) -> Result<Option<String>> {
        self.process.exit_report()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.process.exit(), Ok(None)) {
            return;
        }
        say("== stopping the database");
        if self.version.is_empty() {
            self.let_start();
        }
        self.process.ask_to_stop();
        if !self.process.ended_within(STOP_LIMIT, || false) {
            self.process.kill();
            complain("warning: the database did not stop in time and was killed; it repairs itself at the next start");
        }
    }
}

fn command(program: &Program, purpose: Purpose, folder: &Path, address: SocketAddr) -> Command {
    let mut command = program.command();
    command
        .arg(format!("--datadir={}", folder.display()))
        // In the common one, a server that starts removes the files of those that run.
        .arg(format!("--tmpdir={}", folder.display()))
        // Relative to the data directory: a socket's path has 107 bytes at most.
        .args(["--socket=server.sock", "--pid-file=server.pid"])
        .args(purpose.name_resolution())
        .envs([IMPATIENT_RESOLVER])
        .arg(format!("--bind-address={}", address.ip()))
        .arg(format!("--port={}", address.port()))
        .args(options(program.maker, purpose));
    command
}

fn spawn(command: &mut Command, log: &Path) -> Result<Process> {
    let log_file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    Process::start("the database server", command.stdout(log_file.try_clone()?).stderr(log_file))
}

fn free_address(ip: IpAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((ip, 0)).with_context(|| format!("no port of {ip} is free"))?;
    Ok(listener.local_addr()?)
}

fn port_was_taken(log: &Path) -> bool {
    fs::read_to_string(log).is_ok_and(|text| text.contains("Address already in use"))
}

/// The first error in the server's log, from which the others follow, and where they are.
fn first_error(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let why = text.lines().find(|line| line.contains("[ERROR]"));
    let why = why.and_then(|line| Some(line.split_once("[ERROR]")?.1.trim()));
    format!("{} (its log: {})", why.unwrap_or("no reason given"), log.display())
}
