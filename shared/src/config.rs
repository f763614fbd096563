//! The settings that both programs share.
//!
//! `Invariant:` the environment is read only here and in each program's `cli`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};

pub use crate::invalid_setting::InvalidSetting;
use crate::store::StoreSettings;
use crate::version::Version;

/// Reads this process's command line, with the command `default` if it names none. The program has a name of its own if
/// one is given. If the line asks for help or the version, or is wrong, the process ends here.
#[must_use]
pub fn read_command_line<C: Parser>(name: Option<String>, version: Version, default: &str) -> C {
    let command = C::command().version(version.to_string());
    let command = if let Some(name) = name { command.name(name) } else { command };
    let matches = command.get_matches_from(command_line(std::env::args_os(), default));
    C::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The command line, with the command `default` if it names none, so that bare flags belong to that command.
fn command_line(args: impl IntoIterator<Item = OsString>, default: &str) -> Vec<OsString> {
    let mut args: Vec<_> = args.into_iter().collect();
    let is_global = |arg: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|global| arg == global);
    let is_flag = |arg: &OsString| arg.to_string_lossy().starts_with('-') && !is_global(arg);
    if args.get(1).is_none_or(is_flag) {
        args.insert(args.len().min(1), default.into());
    }
    args
}

/// Where the orders are.
#[derive(Args, Clone)]
pub struct DatabaseArgs {
    /// The database: mysql://user:password@host:port/database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,

    /// The most connections to the database that this process holds, not counting the one for a worker's heartbeats.
    /// With too few, requests wait for one another; too many, over all processes, exceed the server's
    /// `max_connections`.
    #[arg(long, env = "DATABASE_MAX_CONNECTIONS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    database_max_connections: u32,
}

impl DatabaseArgs {
    /// Checks the settings. Errors never show the URL.
    pub fn store(&self) -> Result<StoreSettings, InvalidSetting> {
        let settings = StoreSettings::new(&self.database_url, self.database_max_connections)?;
        if let Some(warning) = settings.tls_warning() {
            tracing::warn!("{warning}");
        }
        Ok(settings)
    }
}

/// How the process shuts down.
#[derive(Args, Clone, Copy, Debug)]
pub struct ShutdownArgs {
    /// Seconds that work under way may take to finish after SIGTERM; what is not done by then is handed back.
    #[arg(long, env = "SHUTDOWN_GRACE_SECS", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    shutdown_grace_secs: u64,
}

impl ShutdownArgs {
    /// The grace period.
    #[must_use]
    pub fn grace(self) -> Duration {
        Duration::from_secs(self.shutdown_grace_secs)
    }
}

/// How the process logs, on standard output.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// Form of each log line: text, or a JSON object.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// Events to log, as `level` or `target=level,…`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log_filter: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_without_a_command_are_those_of_the_default() {
        for (given, read) in [
            ("orders-api", "orders-api serve"),
            ("orders-api --api-listen 127.0.0.1:1", "orders-api serve --api-listen 127.0.0.1:1"),
            ("orders-api doctor --database-url x", "orders-api doctor --database-url x"),
            ("orders-api --help", "orders-api --help"),
            ("orders-api -V", "orders-api -V"),
        ] {
            let line = command_line(given.split(' ').map(OsString::from), "serve");

            assert_eq!(line, read.split(' ').map(OsString::from).collect::<Vec<_>>());
        }
    }
}
