use async_trait::async_trait;
use orders_shared::domain::Order;

/// The work on an order: the part that a team writes itself.
///
/// An order may be processed again after a crash, so the work must be idempotent: use the order's id as the key of
/// everything that it does elsewhere. The future is dropped at its next await when it takes longer than
/// `PROCESSING_TIMEOUT_MS`, when the grace period of a shutdown is over, and when this worker has lost its claims.
#[async_trait]
pub trait Processor: Send + Sync + 'static {
    /// Processes `order`; `Ok` means that it is done for good. A panic counts as a retryable error.
    async fn process(&self, order: &Order) -> Result<(), ProcessingError>;
}

/// Why an attempt did not succeed. The text is stored with the order and shown to people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProcessingError {
    /// Another attempt may succeed: for example, a service was away or too busy.
    #[error("{0}")]
    Retryable(String),
    /// No attempt can succeed: the order is FAILED at once.
    #[error("{0}")]
    Permanent(String),
}
