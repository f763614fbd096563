//! The database of a run: found, or started for it.

mod container;
mod docker;
mod greeting;
pub(crate) mod install;
mod own_address;
mod private;
mod program;
mod settings;

use std::env;

use anyhow::{Result, bail};
use clap::ValueEnum;

use self::container::Container;
pub(crate) use self::docker::{Engine, MYSQL_IMAGE};
pub(crate) use self::private::Server;
pub(crate) use self::program::{Maker, Program};
pub(crate) use self::settings::Purpose;
use crate::checkout::Checkout;
use crate::data_dir::DataDir;
use crate::interrupt::{Interrupt, Interrupted};
use crate::output::say;

/// Which database to use.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// The URL in the environment if set, else Docker if it can serve, else a private server
    Auto,
    /// MySQL in a container
    Docker,
    /// A server process that belongs to the run
    Private,
}

/// Where a run's database comes from.
pub(crate) enum Source {
    Url(String),
    Docker(Engine),
    Private(Program),
}

impl Source {
    /// Finds a database without starting any; may pull an image or install a server.
    ///
    /// A Docker engine that answers but neither has the image nor can pull it
    /// counts as no Docker.
    pub(crate) fn find(choice: Choice, url_variable: &str, interrupt: &Interrupt) -> Result<Self> {
        let url = env::var(url_variable).ok().filter(|url| !url.is_empty());
        if let (Choice::Auto, Some(url)) = (choice, url) {
            return Ok(Self::Url(url));
        }
        if choice != Choice::Private {
            match Engine::serving(MYSQL_IMAGE, interrupt) {
                Ok(engine) => return Ok(Self::Docker(engine)),
                Err(error) if choice == Choice::Docker || error.is::<Interrupted>() => return Err(error),
                Err(error) => say(format_args!("== not using Docker: {error:#}")),
            }
        }
        let program = match Program::find(interrupt)? {
            Some(program) => program,
            None => install::server(url_variable, interrupt)?,
        };
        Ok(Self::Private(program))
    }

    /// Starts the database for `cargo xtask up`, on the data of earlier runs.
    pub(crate) fn start(self, checkout: &Checkout, data: &DataDir, interrupt: &Interrupt) -> Result<Database> {
        Ok(match self {
            Self::Url(url) => Database::Elsewhere { url },
            Self::Docker(engine) => Database::Container(Container::start(engine, checkout, data, interrupt)?),
            Self::Private(program) => Database::Server(Server::start(&program, data, Purpose::Use, interrupt)?),
        })
    }

    /// Starts an empty database for `cargo xtask bench`, as durable as that of `up`, which goes with the run; a container has this
    /// name.
    pub(crate) fn start_fresh(self, data: &DataDir, container: String, interrupt: &Interrupt) -> Result<Database> {
        Ok(match self {
            Self::Url(_) => bail!("the tables of a database in the environment must not be emptied"),
            Self::Docker(engine) => Database::Container(Container::start_fresh(engine, container, data, interrupt)?),
            Self::Private(program) => Database::Server(Server::start(&program, data, Purpose::Bench, interrupt)?),
        })
    }
}

/// A database that answers; dropping it stops what was started for it.
pub(crate) enum Database {
    Elsewhere { url: String },
    Container(Container),
    Server(Server),
}

impl Database {
    /// The URL with its password, for the programs only.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Elsewhere { url } => url.clone(),
            Self::Container(container) => container.url(),
            Self::Server(server) => server.url(),
        }
    }

    /// The server's process, where it runs on this machine; a container's may run on another.
    pub(crate) fn pid(&self, interrupt: &Interrupt) -> Result<Option<u32>> {
        match self {
            Self::Elsewhere { .. } => Ok(None),
            Self::Container(container) => container.pid(interrupt),
            Self::Server(server) => Ok(Some(server.pid())),
        }
    }

    /// Which server it is, and how a person looks inside; shows no password.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Elsewhere { url } => without_password(url),
            Self::Container(container) => container.describe(),
            Self::Server(server) => server.describe(),
        }
    }

    /// How the server ended, if it was ours and has.
    pub(crate) fn exit_report(&mut self) -> Result<Option<String>> {
        match self {
            Self::Elsewhere { .. } => Ok(None),
            Self::Container(container) => container.exit_report(),
            Self::Server(server) => server.exit_report(),
        }
    }
}

/// Whether the run's tests reached the server that they started in a container otherwise than over loopback; `None` if they
/// started none.
pub(crate) fn is_off_loopback(engine: &Engine, container: &str, interrupt: &Interrupt) -> Result<Option<bool>> {
    if !engine.ask(&["inspect", container], interrupt)?.ok {
        return Ok(None);
    }
    let address = own_address::address_of(engine, container, interrupt)?;
    Ok(Some(address.and_then(greeting::server_version).is_some()))
}

/// The URL with stars for its password.
fn without_password(url: &str) -> String {
    let hidden = || {
        let (scheme, rest) = url.split_once("://")?;
        // The last @ ends the password, which may hold others by mistake.
        let (credentials, address) = rest.rsplit_once('@')?;
        let (user, _) = credentials.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{address}"))
    };
    hidden().unwrap_or_else(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(without_password("mysql://a:b@c:1/d"), "mysql://a:***@c:1/d");
        assert_eq!(without_password("mysql://a:b@x@c:1/d"), "mysql://a:***@c:1/d");
        assert_eq!(without_password("mysql://a@c/d"), "mysql://a@c/d");
    }
}
