//! Logs: one event a line on standard output. No line holds a request's body, a password or a key.

use std::io::{IsTerminal, stdout};

use tracing_subscriber::EnvFilter;

use crate::config::{InvalidSetting, LogArgs, LogFormat};

/// Starts logging for the whole process.
///
/// # Errors
///
/// When the filter is none, or logging was started before.
pub fn start(args: &LogArgs) -> Result<(), InvalidSetting> {
    let filter = EnvFilter::try_new(&args.log_filter)
        .map_err(|error| InvalidSetting::new("RUST_LOG", format!("is invalid: {error}")))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(stdout().is_terminal());
    let started = match args.log_format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    started.map_err(|error| InvalidSetting::new("LOG_FORMAT", format!("cannot take effect: {error}")))
}
