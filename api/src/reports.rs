//! What is read once for all who ask at the same time.

use std::sync::Arc;

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

pub(crate) async fn read_counts(store: Store) -> Result<OrderCounts, Arc<StoreError>> {
    store.order_counts().await.map_err(Arc::new)
}

pub(crate) async fn read_queue(store: Store) -> Result<Arc<QueueReport>, Arc<StoreError>> {
    let queue = store.queue().await?;
    let is_writable = store.write_obstacle().await?.is_none();
    Ok(Arc::new(QueueReport { queue, is_writable }))
}
