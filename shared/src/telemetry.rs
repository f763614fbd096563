//! Logs: one event per line on standard output.
//!
//! `Invariant:` no line holds a request's body, a password or a key, and none can fail or delay the code that writes
//! it.

mod lines;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Debug;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::panic::{PanicHookInfo, set_hook};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use prometheus::{IntCounter, Registry};
use tracing_subscriber::EnvFilter;

use self::lines::LogLines;
use crate::config::{InvalidSetting, LogArgs, LogFormat};

/// How long a process that ends waits for someone to read its last lines. A shorter wait could lose them on a loaded
/// machine; a longer one would delay the end if nobody reads.
const LAST_LINES_WITHIN: Duration = Duration::from_millis(500);

/// The log of this process. Dropping it waits a moment for the last lines to be written.
#[derive(Debug)]
#[must_use = "the last lines are lost if the process ends while they wait"]
pub struct Log {
    lines: LogLines,
    dropped: IntCounter,
}

impl Log {
    /// Adds the count of dropped lines to the metrics of this process.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.dropped.clone()))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lines.flush(LAST_LINES_WITHIN);
    }
}

/// Starts logging for the whole process.
pub fn start(args: &LogArgs) -> Result<Log, InvalidSetting> {
    let failed =
        |error: &dyn std::error::Error| InvalidSetting::new("LOG_FORMAT", format!("cannot take effect: {error}"));
    let filter = EnvFilter::try_new(&args.log_filter)
        .map_err(|error| InvalidSetting::new("RUST_LOG", format!("is invalid: {error}")))?;
    let help = "Log lines dropped because the output was closed or nobody read it in time.";
    let dropped = IntCounter::new("orders_log_lines_dropped_total", help).map_err(|error| failed(&error))?;
    let lines = LogLines::start(dropped.clone(), stdout()).map_err(|error| failed(&error))?;
    // Internal errors would go to `eprintln!`, which panics if standard error is closed.
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stdout().is_terminal())
        .log_internal_errors(false)
        .with_writer(lines.clone());
    let started = match args.log_format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    started.map_err(|error| failed(&*error))?;
    set_hook(Box::new(log_panic));
    Ok(Log { lines, dropped })
}

/// Replaces the standard library's hook, which writes to standard error and blocks for ever if that is full.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(tracing::field::display);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace));
    let message = panic.payload_as_str().unwrap_or("no message");
    let thread = thread::current();
    tracing::error!(thread = thread.name(), location, panic = message, backtrace, "a panic");
}

/// The exit code for the result of a program. Writes an error to standard error, but waits only a moment for its
/// reader.
pub fn exit_code(ended: Result<ExitCode, impl Debug>) -> ExitCode {
    let error = match ended {
        Ok(code) => return code,
        Err(error) => format!("Error: {error:?}\n"),
    };
    let (written, is_written) = mpsc::channel();
    let writing = thread::Builder::new().spawn(move || {
        let _ = stderr().write_all(error.as_bytes());
        let _ = written.send(());
    });
    if writing.is_ok() {
        let _ = is_written.recv_timeout(LAST_LINES_WITHIN);
    }
    ExitCode::FAILURE
}
