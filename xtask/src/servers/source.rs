//! Where a run's server comes from.

use std::env;

use anyhow::Result;
use clap::ValueEnum;

use super::engine::{Engine, MYSQL_IMAGE};
use super::install;
use super::program::Program;
use crate::interrupt::{Interrupt, Interrupted};
use crate::output::say;

/// Which database to use.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// The URL in the environment if set, else Docker if it has or can pull the image, else a private server
    Auto,
    /// MySQL in a container
    Docker,
    /// A server process that belongs to the run
    Private,
}

/// Where a run's database comes from.
pub enum Source {
    /// The server of a URL, which is somebody else's.
    Url(String),
    /// A container.
    Docker(Engine),
    /// An installed program.
    Private(Program),
}

impl Source {
    /// Finds a database without starting one; may pull an image or install a server.
    ///
    /// A Docker engine that neither has the image nor can pull it does not count.
    pub fn find(choice: Choice, url_variable: &str, interrupt: &Interrupt) -> Result<Self> {
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
}
