//! Ctrl-C and similar signals, which every wait notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::output::say;

/// How often a wait checks whether it is over. Shorter burns CPU beside a
/// build; longer is noticeable.
pub const POLL: Duration = Duration::from_millis(50);

/// The user asked to stop. It is not reported as a failure.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Counts SIGINT, SIGTERM and, unless it is ignored, SIGHUP; from the first on, waits end early.
#[derive(Clone)]
pub struct Interrupt {
    asked: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Starts to listen for the signals, which no longer end the process by themselves.
    pub fn watch() -> Result<Self> {
        let asked = Arc::new(AtomicUsize::new(0));
        // With `nohup` the user wants us to outlive the terminal.
        let hangup = if ignores_hangup() { None } else { Some(SIGHUP) };
        let mut signals =
            Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup)).context("cannot listen for signals")?;
        let counter = Arc::clone(&asked);
        thread::spawn(move || {
            for signal in &mut signals {
                // A closing terminal sends several signals at once; only a
                // second Ctrl-C says that the user will not wait.
                let before = counter.load(Ordering::SeqCst);
                if before == 0 || signal == SIGINT {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                if before == 0 {
                    say("\n== stopping (Ctrl-C again: without waiting)");
                }
            }
        });
        Ok(Self { asked })
    }

    /// Never interrupted, for a step that must not be cut short.
    #[must_use]
    pub fn never() -> Self {
        Self { asked: Arc::default() }
    }

    /// Whether the user asked to stop.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst) > 0
    }

    /// Whether the user asked twice: then a program that still drains is killed.
    #[must_use]
    pub fn is_impatient(&self) -> bool {
        self.asked.load(Ordering::SeqCst) > 1
    }

    /// Fails with [`Interrupted`] once the user asked to stop.
    pub fn check(&self) -> Result<()> {
        if self.is_asked() {
            return Err(Interrupted.into());
        }
        Ok(())
    }

    /// Tries `attempt` every [`POLL`] until it gives a value or `limit` has
    /// passed (then `None`).
    ///
    /// # Errors
    /// [`Interrupted`], or the first error of `attempt`.
    pub fn wait_for<T>(&self, limit: Duration, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
        let started = Instant::now();
        loop {
            self.check()?;
            if let Some(value) = attempt()? {
                return Ok(Some(value));
            }
            if started.elapsed() >= limit {
                return Ok(None);
            }
            thread::sleep(POLL);
        }
    }
}

/// Whether this process was started with SIGHUP ignored: the lowest bit of a mask that Linux reports.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use signal_hook::low_level::raise;

    use super::*;

    #[test]
    fn a_terminal_that_closes_interrupts_every_wait_but_does_not_make_it_impatient() {
        let interrupt = Interrupt::watch().unwrap();

        raise(SIGHUP).unwrap();
        raise(SIGHUP).unwrap();
        let waited = interrupt.wait_for(Duration::from_mins(1), || Ok(None::<()>));

        assert!(waited.unwrap_err().is::<Interrupted>());
        assert!(!interrupt.is_impatient());
    }
}
