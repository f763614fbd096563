//! How a process is told to stop, and how long it may go on working. No part has a timer of its own for this, so that
//! all agree on when the shutdown begins and when it is over.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// One shutdown, shared by every part of a process. It begins when the process is told to stop: from then on nothing
/// new is started. It is over when the grace period has passed: work still under way is given up.
#[derive(Clone, Debug)]
pub struct Shutdown {
    begun: CancellationToken,
    over: CancellationToken,
}

impl Shutdown {
    /// A shutdown that begins when `stop` is cancelled and is over `grace` later.
    #[must_use]
    pub fn after(stop: CancellationToken, grace: Duration) -> Self {
        let shutdown = Self { begun: stop, over: CancellationToken::new() };
        let Self { begun, over } = shutdown.clone();
        tokio::spawn(async move {
            begun.cancelled().await;
            tokio::time::sleep(grace).await;
            over.cancel();
        });
        shutdown
    }

    /// Begins and ends the shutdown at once, because a vital part has failed.
    pub fn cut_short(&self) {
        self.begun.cancel();
        self.over.cancel();
    }

    /// Waits until the shutdown begins.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Waits until the grace period is over.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }
}

/// A token that is cancelled at the first SIGTERM, SIGINT or SIGHUP. SIGQUIT still ends the process at once, for people
/// who cannot wait.
pub fn on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // A program started by `nohup` should outlive its terminal.
    let mut hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            Some(()) = async { hangup.as_mut()?.recv().await } => "SIGHUP",
        };
        told.cancel();
        tracing::info!("{signal}: draining");
    });
    Ok(stop)
}

/// True if this process was started with SIGHUP ignored, as far as the system can tell.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| has_hangup_ignored(&status))
}

/// Reads the mask of ignored signals, whose lowest bit stands for SIGHUP, signal 1.
fn has_hangup_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_nohup_started_ignores_hangups_and_one_that_a_shell_started_does_not() {
        for (mask, is_ignored) in [("0000000000001000", false), ("0000000000001001", true), ("", false), ("?", false)] {
            let status = format!("Name:\torders-api\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t0\n");

            assert_eq!(has_hangup_ignored(&status), is_ignored, "{mask}");
        }
        assert!(!has_hangup_ignored(""));
    }
}
