use std::time::Duration;

use async_trait::async_trait;
use orders_shared::domain::Order;

/// The work on an order: what a team that uses this project writes itself.
///
/// An order may be processed again after a crash, so the work must be idempotent: use the order's id as the key of
/// whatever it does elsewhere. The future is dropped at its next await when the grace period of a shutdown is over.
#[async_trait]
pub trait Processor: Send + Sync + 'static {
    /// Does the work on `order`; `Ok` means that it is done for good.
    async fn process(&self, order: &Order) -> Result<(), ProcessingError>;
}

/// Work on an order that did not succeed. The order goes back to the queue.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProcessingError(pub String);

/// Stands in for real work: takes a while, and succeeds.
#[derive(Clone, Copy, Debug)]
pub struct Simulated {
    duration: Duration,
}

impl Simulated {
    /// Work that takes `duration`.
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        Self { duration }
    }
}

#[async_trait]
impl Processor for Simulated {
    async fn process(&self, _order: &Order) -> Result<(), ProcessingError> {
        if !self.duration.is_zero() {
            tokio::time::sleep(self.duration).await;
        }
        Ok(())
    }
}
