//! A server that runs as a process of our own, on a free port.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::greeting::server_version;
use super::program::Program;
use super::runner::{Runner, Spec};
use super::settings::{client_options, options, setup};
use crate::addresses::free_port;
use crate::data_dir::DataDir;
use crate::interrupt::Interrupt;
use crate::process::Process;

/// The server writes its dirty pages before it goes.
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// A server that is interrupted while it starts needs another second, unless it repairs data.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Tells glibc not to wait ten seconds for a name server that does not answer: it would hold up each new client.
const IMPATIENT_RESOLVER: (&str, &str) = ("RES_OPTIONS", "timeout:1 attempts:1");

/// A server on a port of this machine.
#[derive(Debug)]
pub(super) struct PrivateServer {
    process: Process,
    command: Command,
    address: SocketAddr,
    log: PathBuf,
    client_options: PathBuf,
    has_started: bool,
}

impl PrivateServer {
    /// Starts a server on the data in `data`, made if missing.
    pub(super) fn start(
        program: &Program,
        spec: &Spec<'_>,
        password: &str,
        data: &DataDir,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let purpose = spec.purpose;
        let folder = program.initialise(purpose, data, interrupt)?;
        purpose.say(format_args!("== starting {}", program.path.display()));
        let address = SocketAddr::new(purpose.listen_on(), free_port()?);
        let setup = data.write_secret("setup.sql", &setup(purpose, password, program.maker)?)?;
        let client_options = client_options(address, password, purpose.user());
        let client_options = data.write_secret("client.cnf", &client_options)?;
        let log = data.path().join("server.log");
        let log_file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = program.command();
        command
            .arg(format!("--datadir={}", folder.display()))
            // A server that starts removes the files of running servers from a shared temporary folder.
            .arg(format!("--tmpdir={}", folder.display()))
            // Relative to the data directory, because a socket's path may have at most 107 bytes.
            .args(["--socket=server.sock", "--pid-file=server.pid"])
            .arg(format!("--bind-address={}", address.ip()))
            .arg(format!("--port={}", address.port()))
            .arg(format!("--init-file={}", setup.display()))
            .args(options(program.maker, purpose))
            .args(spec.options)
            .envs([IMPATIENT_RESOLVER])
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .stdout(log_file.try_clone()?)
            .stderr(log_file);
        let process = data.start("the database server", &mut command)?;
        Ok(Self { process, command, address, log, client_options, has_started: false })
    }
}

impl Runner for PrivateServer {
    fn greeting(&mut self) -> Result<Option<(SocketAddr, String)>> {
        let version = server_version(self.address);
        self.has_started |= version.is_some();
        Ok(version.map(|version| (self.address, version)))
    }

    fn exit_report(&mut self) -> Result<Option<String>> {
        self.process.exit_report()
    }

    fn pid(&self) -> Result<Option<u32>> {
        Ok(Some(self.process.id()))
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn evidence(&self) -> String {
        format!("its log: {}", self.log.display())
    }

    fn client(&self, version: &str) -> String {
        let client = if version.starts_with("MariaDB") { "mariadb" } else { "mysql" };
        format!("{client} --defaults-extra-file='{}' orders", self.client_options.display())
    }

    fn stop(&mut self) -> Result<()> {
        if !self.has_started {
            // MariaDB hangs for good if it is asked to stop before it has started.
            let address = self.address;
            self.process.ended_within(START_LIMIT, || server_version(address).is_some());
        }
        self.process.ask_to_stop();
        let has_ended = self.process.ended_within(STOP_LIMIT, || false);
        ensure!(has_ended, "the database did not stop within {} s", STOP_LIMIT.as_secs());
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        self.process.kill();
        Ok(())
    }

    fn start_again(&mut self) -> Result<()> {
        self.process.start_again(&mut self.command)
    }

    fn freeze(&mut self) -> Result<()> {
        self.process.freeze()
    }

    fn thaw(&mut self) -> Result<()> {
        self.process.thaw();
        Ok(())
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        self.process.kill();
    }
}
