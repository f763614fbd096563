//! The API's settings, from the environment or the command line, and the rules between them.

use std::net::{AddrParseError, IpAddr, SocketAddr};

use clap::{Args, Parser, Subcommand};
use orders_shared::config::{DatabaseArgs, InvalidSetting, LogArgs, ShutdownArgs, read_command_line};
use orders_shared::store::StoreSettings;
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
    /// Reads this process's command line. If it asks for help or the version, or is wrong, the process ends here.
    #[must_use]
    pub fn read(version: Version) -> Self {
        read_command_line(None, version, "serve")
    }
}

/// What to do.
#[derive(Subcommand)]
#[expect(missing_docs, reason = "flattened groups are documented where they are defined")]
pub enum Command {
    /// Serve the API (the default).
    Serve(Box<ServeArgs>),
    /// Bring the database's schema up to date, then exit. Several at the same time do no harm.
    Migrate {
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Ask the API on this machine whether it is ready; exit 1 if it is not.
    Healthcheck {
        /// Address that the API listens on.
        #[arg(long, env = "API_LISTEN", default_value = "0.0.0.0:8000")]
        api_listen: SocketAddr,
    },
    /// Check the database for these programs, and print one finding per line; exit 1 if a check fails.
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

    /// Address to listen on.
    #[arg(long, env = "API_LISTEN", default_value = "0.0.0.0:8000")]
    pub api_listen: SocketAddr,

    /// Address at which others reach the API, if that is not the address of `API_LISTEN`: where a container's port is
    /// published, or a proxy listens. If it is a loopback address, requests to other names than localhost are rejected.
    #[arg(long, env = "API_BIND", value_parser = address)]
    pub api_bind: Option<IpAddr>,

    /// Further host names, separated by commas, under which an API that serves only its own machine may be asked.
    #[arg(long, env = "API_ALLOWED_HOSTS", value_delimiter = ',')]
    pub api_allowed_hosts: Vec<String>,

    /// Mebibytes of memory that this process may use, for the program itself, connections, bodies, waiting orders,
    /// pages and answers. With less, large requests and crowds are turned away sooner; with more, other programs have
    /// less. Set a hard limit around the process to twice as much.
    #[arg(long, env = "API_MEMORY_MB", default_value_t = 192, value_parser = clap::value_parser!(u32).range(i64::from(MemoryBudget::MB_MIN)..=i64::from(MemoryBudget::MB_MAX)))]
    pub api_memory_mb: u32,

    #[command(flatten)]
    pub shutdown: ShutdownArgs,

    #[command(flatten)]
    pub log: LogArgs,
}

impl ServeArgs {
    /// Checks the settings that depend on each other.
    ///
    /// # Errors
    ///
    /// If two settings contradict each other.
    pub fn check(&self, database: &StoreSettings) -> Result<(), InvalidSetting> {
        check_memory(database.connections_max(), self.api_memory_mb)?;
        check_hosts(self.api_listen, self.api_bind, &self.api_allowed_hosts)
    }

    /// The address at which others reach the API.
    #[must_use]
    pub fn reached_at(&self) -> IpAddr {
        self.api_bind.unwrap_or(self.api_listen.ip())
    }
}

fn check_memory(database_connections: usize, memory_mb: u32) -> Result<(), InvalidSetting> {
    let needed = MemoryBudget::mb_for_database(database_connections);
    if memory_mb >= needed {
        return Ok(());
    }
    let why = format!(
        "is {database_connections}, but API_MEMORY_MB is {memory_mb}, which is too little for so many connections: \
         lower DATABASE_MAX_CONNECTIONS, or raise API_MEMORY_MB to at least {needed}"
    );
    Err(InvalidSetting::new("DATABASE_MAX_CONNECTIONS", why))
}

/// An API that others reach has names that it cannot know, so it cannot keep to a list of them: it must not seem to.
/// With an explicit `API_BIND` the list may stay, so that a deployment can be published by that setting alone.
fn check_hosts(listen: SocketAddr, bind: Option<IpAddr>, allowed: &[String]) -> Result<(), InvalidSetting> {
    let allowed = allowed.join(",");
    if allowed.trim_matches([',', ' ']).is_empty() || bind.is_some() || listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let why = format!(
        "is {allowed}, but API_LISTEN is {listen}, where others reach the API under any name: set API_BIND (or the \
         address of API_LISTEN) to 127.0.0.1 if only this machine may reach it, or else leave API_ALLOWED_HOSTS out"
    );
    Err(InvalidSetting::new("API_ALLOWED_HOSTS", why))
}

/// Reads an IP address. One of version 6 may have the brackets that Docker requires.
fn address(text: &str) -> Result<IpAddr, AddrParseError> {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_to_the_database_need_memory() {
        for (connections, memory_mb, needed) in [
            (10, MemoryBudget::MB_MIN, None),
            (341, MemoryBudget::MB_MIN, None),
            (342, MemoryBudget::MB_MIN, Some(65)),
            (1_000, 187, Some(188)),
            (1_000, 188, None),
        ] {
            let said = check_memory(connections, memory_mb).map_err(|error| error.to_string());

            let expected = needed.map(|needed| {
                format!(
                    "DATABASE_MAX_CONNECTIONS is {connections}, but API_MEMORY_MB is {memory_mb}, which is too little \
                     for so many connections: lower DATABASE_MAX_CONNECTIONS, or raise API_MEMORY_MB to at least \
                     {needed}"
                )
            });
            assert_eq!(said.err(), expected, "{connections} {memory_mb}");
        }
    }

    #[test]
    fn a_list_of_names_is_only_for_an_api_that_others_do_not_reach() {
        for (listen, bind, allowed, is_sound) in [
            ("127.0.0.1:8000", None, "orders.example", true),
            ("[::1]:8000", None, "orders.example", true),
            ("[::ffff:127.0.0.1]:8000", None, "orders.example", true),
            ("0.0.0.0:8000", Some("127.0.0.1"), "orders.example", true),
            // Published by one setting, as with Docker Compose.
            ("0.0.0.0:8000", Some("0.0.0.0"), "api,", true),
            ("0.0.0.0:8000", None, "", true),
            ("0.0.0.0:8000", None, " , ", true),
            ("0.0.0.0:8000", None, "orders.example", false),
            ("[::]:8000", None, "api,orders.example", false),
            ("192.0.2.1:8000", None, "orders.example", false),
        ] {
            let names: Vec<String> = allowed.split(',').map(str::to_owned).collect();
            let checked = check_hosts(listen.parse().unwrap(), bind.map(|bind| bind.parse().unwrap()), &names);

            assert_eq!(checked.is_ok(), is_sound, "{listen} {bind:?} {allowed}: {checked:?}");
            let said = checked.map_or_else(|error| error.to_string(), |()| String::new());
            for part in ["API_ALLOWED_HOSTS", allowed, "API_LISTEN", listen, "API_BIND"] {
                assert!(is_sound || said.contains(part), "{said}");
            }
            assert!(!said.contains('\n'), "{said}");
        }
    }
}
