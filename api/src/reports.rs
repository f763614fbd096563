//! What is read once for all who ask at the same time.

use std::error::Error;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use orders_shared::coalesced::Coalesced;
use orders_shared::domain::{OrderCounts, Queue};
use orders_shared::store::{Store, StoreError};

/// How many orders stand where, all at the same moment.
pub(crate) type Counts = Coalesced<Result<OrderCounts, Arc<StoreError>>>;

/// The queue, and whether the database takes writes.
pub(crate) type QueueReports = Coalesced<Result<Arc<QueueReport>, Arc<StoreError>>>;

/// The queue at one moment.
#[derive(Debug)]
pub(crate) struct QueueReport {
    pub(crate) queue: Queue,
    /// Whether the database takes writes.
    pub(crate) is_writable: bool,
}

/// Reads the counts, for whoever asks for them together.
pub(crate) fn counts_of(store: Store) -> impl Fn() -> BoxFuture<'static, Result<OrderCounts, Arc<StoreError>>> {
    move || {
        let store = store.clone();
        async move { store.order_counts().await.map_err(Arc::new) }.boxed()
    }
}

/// Reads the queue, for whoever asks for it together.
pub(crate) fn queue_of(store: Store) -> impl Fn() -> BoxFuture<'static, Result<Arc<QueueReport>, Arc<StoreError>>> {
    move || {
        let store = store.clone();
        async move {
            let report = async {
                let queue = store.queue().await?;
                let is_writable = store.write_obstacle().await?.is_none();
                Ok(Arc::new(QueueReport { queue, is_writable }))
            };
            // Here and not by each of those who asked: one reading serves many.
            let log = |error: &StoreError| tracing::warn!(error = error as &dyn Error, "the queue could not be read");
            report.await.inspect_err(log).map_err(Arc::new)
        }
        .boxed()
    }
}
