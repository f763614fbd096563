//! How a process is told to stop, and until when it may work on.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// One shutdown, seen alike by every part of a process.
///
/// It begins when the process is told to stop: nothing new is taken on. It is over when the grace period has passed
/// since then: what is still under way is given up.
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

    /// Waits until the shutdown begins.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Waits until the grace period is over.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }
}

/// A token that is cancelled at the first SIGTERM or SIGINT.
///
/// # Errors
///
/// When the process cannot listen for signals.
pub fn on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        // First: a log that nobody reads any more must not keep the process from ending.
        told.cancel();
        tracing::info!("{signal}: draining");
    });
    Ok(stop)
}
