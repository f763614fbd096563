use std::sync::Arc;

use async_trait::async_trait;
use orders_shared::domain::{Order, Outcome, ProcessorKind};
use orders_shared::version::Version;
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;

/// The work on an order: the part that a team writes itself.
///
/// An order may be processed again after a crash, so the work must be idempotent: use the order's id as the key of
/// everything that it does elsewhere. The future is dropped at its next await when it takes longer than
/// `PROCESSING_TIMEOUT_MS`, when the grace period of a shutdown is over, and when this worker has lost its claims.
#[async_trait]
pub trait Processor: Send + Sync + 'static {
    /// Makes an attempt at an order. A panic counts as [`NotDone::Retry`](crate::NotDone::Retry).
    async fn process(&self, attempt: Attempt<'_>) -> Outcome;

    /// The version of the program, as `--version`, the log and `GET /queue` show it; by default that of this library.
    fn version(&self) -> Version {
        Version::new(env!("CARGO_PKG_VERSION"), None)
    }

    /// How many orders [`process_many`](Self::process_many) takes at once. It is not called unless this is above 1.
    fn batch_max(&self) -> usize {
        1
    }

    /// Makes an attempt at each of several orders, for work that is cheaper by the dozen. Returns the outcomes in the
    /// order of the attempts.
    ///
    /// There are from 1 to [`batch_max`](Self::batch_max) attempts, as many as one claim brought. They share the time
    /// that an attempt may take, and a panic fails all of them.
    async fn process_many(&self, attempts: &[Attempt<'_>]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(attempts.len());
        for attempt in attempts {
            outcomes.push(self.process(*attempt).await);
        }
        outcomes
    }
}

/// One attempt at an order.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The order, as it was when it was claimed.
    pub order: &'a Order,
    /// Its number, from 1. It rises when an attempt fails, not when a worker dies.
    pub number: u16,
    /// Is canceled when nobody waits for the attempt any more. Threads that work on it should end then: the future of
    /// the attempt is dropped, but nothing stops a thread from outside.
    pub stop: &'a CancellationToken,
}

/// What a worker does with orders, and what tells it to do so less for a while.
#[derive(Clone)]
pub struct Work {
    pub(crate) processor: Arc<dyn Processor>,
    pub(crate) kind: ProcessorKind,
    pub(crate) gate: Option<Arc<Gate>>,
}

impl Work {
    /// Work by code of this program.
    #[must_use]
    pub fn of(processor: impl Processor) -> Self {
        Self { processor: Arc::new(processor), kind: ProcessorKind::Rust, gate: None }
    }
}
