//! What is read once for all who ask at the same time.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use orders_shared::coalesced::Coalesced;
use orders_shared::domain::{OrderCounts, Queue};
use orders_shared::store::{Store, StoreError};

/// Between two readings of the queue, which everybody may ask for.
const QUEUE_READINGS_APART: Duration = Duration::from_millis(100);

/// How many orders stand where, all at the same moment.
pub(crate) type Counts = Coalesced<Result<OrderCounts, Arc<StoreError>>>;

/// The queue at one moment, and whether the database takes writes.
pub(crate) type QueueReports = Coalesced<Result<Arc<(Queue, bool)>, Arc<StoreError>>>;

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
                Ok(Arc::new((queue, store.write_obstacle().await?.is_none())))
            };
            // Here and not by each of those who asked: one reading serves many.
            let log = |error: &StoreError| tracing::warn!(error = error as &dyn Error, "the queue could not be read");
            report.await.inspect_err(log).map_err(Arc::new)
        }
    };
    (reports, reader.run(read))
}
