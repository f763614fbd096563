use std::sync::Arc;

use orders_shared::domain::OrderCounts;
use orders_shared::store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};

/// Callers that wait to be counted for, beside those of the count under way; more wait their turn.
const WAITING_MAX: usize = 1_024;

/// The counts of orders, for however many callers at once: one query serves all who came before it began. So each answer is
/// exact at a moment after its question, and a crowd of them takes one connection.
#[derive(Clone, Debug)]
pub(crate) struct Census(mpsc::Sender<Caller>);

/// Counts for the callers of a census, until the last clone of it is dropped.
pub(crate) struct Counter(mpsc::Receiver<Caller>);

type Caller = oneshot::Sender<Result<OrderCounts, Arc<StoreError>>>;

impl Census {
    pub(crate) fn new() -> (Self, Counter) {
        let (ask, asked) = mpsc::channel(WAITING_MAX);
        (Self(ask), Counter(asked))
    }

    /// How many orders stand where, all at the same moment, which is not before this call; `None` when this process ends.
    pub(crate) async fn take(&self) -> Option<Result<OrderCounts, Arc<StoreError>>> {
        let (caller, counts) = oneshot::channel();
        self.0.send(caller).await.ok()?;
        counts.await.ok()
    }
}

impl Counter {
    pub(crate) async fn run(mut self, store: Store) {
        let mut callers = Vec::new();
        while self.0.recv_many(&mut callers, WAITING_MAX).await > 0 {
            let counts = store.order_counts().await.map_err(Arc::new);
            for caller in callers.drain(..) {
                // It may have gone away.
                let _ = caller.send(counts.clone());
            }
        }
    }
}
