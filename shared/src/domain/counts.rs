use std::time::Duration;

use super::OrderStatus;

/// How many orders stand where, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderCounts {
    /// Orders that wait.
    pub pending: u64,
    /// Orders that a worker has claimed.
    pub processing: u64,
    /// Orders that are done.
    pub completed: u64,
    /// Orders that could not be done.
    pub failed: u64,
    /// Orders that were taken back.
    pub canceled: u64,
    /// From creation to completion, summed over all completed orders.
    pub processing_time: Duration,
}

impl OrderCounts {
    /// Orders in one status.
    #[must_use]
    pub fn of(&self, status: OrderStatus) -> u64 {
        match status {
            OrderStatus::Pending => self.pending,
            OrderStatus::Processing => self.processing,
            OrderStatus::Completed => self.completed,
            OrderStatus::Failed => self.failed,
            OrderStatus::Canceled => self.canceled,
        }
    }

    /// Mean seconds from creation to completion; 0.0 when nothing was completed.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean of counts below 2^53 loses nothing that shows")]
    pub fn average_processing_secs(&self) -> f64 {
        if self.completed == 0 { 0.0 } else { self.processing_time.as_secs_f64() / self.completed as f64 }
    }
}
