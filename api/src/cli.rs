//! The API's settings, from the environment or the command line.

use std::net::{AddrParseError, IpAddr, SocketAddr};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use orders_shared::config::{DatabaseArgs, LogArgs, ShutdownArgs, command_line};
use orders_shared::version::Version;

use crate::memory::MemoryBudget;

/// Takes orders in over HTTP and keeps them in MySQL.
#[derive(Parser)]
#[command(name = "orders-api")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// This process' command line. Where it asks for help or the version, or is wrong, the process ends here.
    #[must_use]
    pub fn read(version: Version) -> Self {
        let command = Self::command().version(version.to_string());
        let matches = command.get_matches_from(command_line(std::env::args_os(), "serve"));
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// What to do.
#[derive(Subcommand)]
#[expect(missing_docs, reason = "flattened groups are documented where they are defined")]
pub enum Command {
    /// Serve the API (the default).
    Serve(Box<ServeArgs>),
    /// Bring the database's schema up to date, then exit. Several at once do no harm.
    Migrate {
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Ask the API on this machine whether it is ready; exit 1 when it is not.
    Healthcheck {
        /// Address of the API.
        #[arg(long, env = "API_LISTEN", default_value = "0.0.0.0:8000")]
        api_listen: SocketAddr,
    },
    /// Check the database that the programs are to use, a finding a line; exit 1 when a check fails.
    Doctor {
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

/// Settings of `serve`.
#[derive(Args)]
#[expect(missing_docs, reason = "flattened groups are documented where they are defined")]
pub struct ServeArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,

    /// Address of the API.
    #[arg(long, env = "API_LISTEN", default_value = "0.0.0.0:8000")]
    pub api_listen: SocketAddr,

    /// Address at which others reach the API, where that is not `API_LISTEN`'s: the one that a container's port is published
    /// at. Where it is one of this machine only, requests to other names than localhost are refused.
    #[arg(long, env = "API_BIND", value_parser = address)]
    pub api_bind: Option<IpAddr>,

    /// Further names, with commas between them, by which an API that serves this machine alone may be asked.
    #[arg(long, env = "API_ALLOWED_HOSTS", value_delimiter = ',')]
    pub api_allowed_hosts: Vec<String>,

    /// Mebibytes of memory that this process plans with: what connections, bodies, waiting orders, pages and answers may take
    /// together with the program itself. Lower turns large requests, and many at once, away sooner; higher takes the memory
    /// from others. A hard limit around the process should be twice as high.
    #[arg(long, env = "API_MEMORY_MB", default_value_t = 192, value_parser = clap::value_parser!(u32).range(i64::from(MemoryBudget::MB_MIN)..=i64::from(MemoryBudget::MB_MAX)))]
    pub api_memory_mb: u32,

    #[command(flatten)]
    pub shutdown: ShutdownArgs,

    #[command(flatten)]
    pub log: LogArgs,
}

/// An address, of version 6 also in the brackets in which Docker wants it.
fn address(text: &str) -> Result<IpAddr, AddrParseError> {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse()
}
