//! Reports that one reading answers for all callers who ask at the same time.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use orders_shared::coalesced::Coalesced;
use orders_shared::domain::{OrderCounts, Queue};
use orders_shared::store::{Store, StoreError};

/// Minimum time between two readings of the queue: any caller may ask for one.
const QUEUE_READINGS_APART: Duration = Duration::from_millis(100);

/// How many orders are in each status, all at the same moment.
pub(crate) type Counts = Coalesced<Result<OrderCounts, Arc<StoreError>>>;

/// The state of the queue at one moment.
pub(crate) type QueueReports = Coalesced<Result<Arc<QueueReport>, Arc<StoreError>>>;

/// The queue at one moment.
#[derive(Debug)]
pub(crate) struct QueueReport {
    pub(crate) queue: Queue,
    /// Whether the database takes writes.
    pub(crate) is_writable: bool,
}

/// Coalesced counts, and the task that reads them.
pub(crate) fn counts(store: Store) -> (Counts, impl Future<Output = ()>) {
    let (counts, reader) = Coalesced::new(Duration::ZERO);
    let read = move || {
        let store = store.clone();
        async move { store.order_counts().await.map_err(Arc::new) }
    };
    (counts, reader.run(read))
}

/// Coalesced reports on the queue, and the task that reads them.
pub(crate) fn queue(store: Store) -> (QueueReports, impl Future<Output = ()>) {
    let (reports, reader) = Coalesced::new(QUEUE_READINGS_APART);
    let read = move || {
        let store = store.clone();
        async move {
            let report = async {
                let queue = store.queue().await?;
                Ok(Arc::new(QueueReport { queue, is_writable: store.write_obstacle().await?.is_none() }))
            };
            // Logged here, once, rather than by each of the callers that share this reading.
            let log = |error: &StoreError| tracing::warn!(error = error as &dyn Error, "could not read the queue");
            report.await.inspect_err(log).map_err(Arc::new)
        }
    };
    (reports, reader.run(read))
}
