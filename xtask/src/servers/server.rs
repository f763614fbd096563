//! A database server that we started.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::container::Container;
use super::engine::Engine;
use super::private::PrivateServer;
use super::program::Program;
use super::runner::{Runner, Spec};
use super::settings::Purpose;
use crate::addresses::loopback;
use crate::data_dir::DataDir;
use crate::interrupt::Interrupt;
use crate::output::complain;

/// A first start creates the system tables, and a start after a kill repairs the data: about 20 s in a container, and
/// several times as long on a loaded machine.
const READY_LIMIT: Duration = Duration::from_mins(4);

/// A running server with a database `orders`; dropping it ends it.
#[derive(Debug)]
pub struct Server {
    runner: Box<dyn Runner>,
    purpose: Purpose,
    password: String,
    address: SocketAddr,
    version: String,
}

impl Server {
    /// Starts the installed program on the data in `data`, made if missing, and waits until it answers.
    pub fn installed(program: &Program, spec: &Spec<'_>, data: &DataDir, interrupt: &Interrupt) -> Result<Self> {
        let password = data.password()?;
        let server = PrivateServer::start(program, spec, &password, data, interrupt)?;
        Self::ready(Box::new(server), spec.purpose, password, interrupt)
    }

    /// Starts MySQL in a container of this name and waits until it answers. The data of one in use is in a volume of
    /// the same name, which outlives the container.
    pub fn in_container(
        engine: Engine,
        name: String,
        spec: &Spec<'_>,
        data: &DataDir,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let (container, password) = Container::start(engine, name, spec, data, interrupt)?;
        Self::ready(Box::new(container), spec.purpose, password, interrupt)
    }

    fn ready(runner: Box<dyn Runner>, purpose: Purpose, password: String, interrupt: &Interrupt) -> Result<Self> {
        let mut server = Self { runner, purpose, password, address: loopback(0), version: String::new() };
        let greeting = interrupt.wait_for(READY_LIMIT, || match server.exit_report()? {
            Some(exit_report) => bail!("{exit_report}: {}", server.first_error()),
            None => server.greeting(),
        })?;
        (server.address, server.version) = greeting.with_context(|| {
            format!("the database did not answer within {} s: {}", READY_LIMIT.as_secs(), server.first_error())
        })?;
        Ok(server)
    }

    /// The first error in the log, from which the others follow, or else the last line, and where to find out more.
    fn first_error(&self) -> String {
        let log = self.log();
        let error = log.lines().find_map(|line| Some(line.split_once("[ERROR]")?.1));
        let error = error.or_else(|| log.lines().last()).unwrap_or("no reason given");
        format!("{} ({})", error.trim(), self.evidence())
    }

    /// The URL with its password, for the programs only.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_for(self.purpose.user())
    }

    /// The same for another user of a server that is not in use: `orders` has the rights of the programs, `root` all.
    #[must_use]
    pub fn url_for(&self, user: &str) -> String {
        // Spelled out, so that no program warns of it.
        format!("mysql://{user}:{}@{}/orders?ssl-mode=PREFERRED", self.password, self.address)
    }

    /// Where it is reached.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Such as "MySQL 9.7.0" or "MariaDB 10.11.19".
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Which server it is, and how to connect to it by hand; contains no password.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} on {}: {}", self.version, self.address, self.client(&self.version))
    }

    /// Whether the server counts interrupted handshakes of its clients: it does not count those over loopback.
    #[must_use]
    pub fn is_off_loopback(&self) -> bool {
        !self.address.ip().is_loopback()
    }
}

impl Deref for Server {
    type Target = dyn Runner;

    fn deref(&self) -> &Self::Target {
        &*self.runner
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.runner
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.exit_report(), Ok(None)) {
            return;
        }
        self.purpose.say(format_args!("== stopping the database"));
        // Nobody needs the data of the other servers.
        if self.purpose == Purpose::Use
            && let Err(error) = self.stop()
        {
            complain(format_args!("warning: {error:#}; the database is killed, and repairs itself at its next start"));
        }
    }
}
