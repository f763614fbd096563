use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orders_shared::domain::OrderId;
use orders_shared::store::Store;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

/// How often the orders that are waited for are looked at, all by one query. Shorter would load the database for little,
/// longer would keep callers waiting for what has happened.
const TICK: Duration = Duration::from_millis(200);

/// How long it rests when the database is away: what waits is told late rather than the log every tick.
const REST: Duration = Duration::from_secs(1);

/// Tells callers when their orders reach an end. However many wait, one query a tick serves them, and none holds a
/// connection to the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    callers: Mutex<HashMap<OrderId, Vec<oneshot::Sender<()>>>>,
    first: Notify,
    stop: CancellationToken,
}

impl Ends {
    /// Waits are cut short by `stop`.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self(Arc::new(Inner { stop, ..Inner::default() }))
    }

    /// Waits until the order has reached an end, for `limit` at most.
    pub(crate) async fn wait(&self, order_id: OrderId, limit: Duration) {
        let (caller, ended) = oneshot::channel();
        self.callers(|callers| callers.entry(order_id).or_default().push(caller));
        self.0.first.notify_one();
        let _ = self.0.stop.run_until_cancelled(tokio::time::timeout(limit, ended)).await;
    }

    /// Looks at the orders, tick by tick, until `stop`.
    pub(crate) async fn watch(self, store: Store) {
        let watching = async {
            loop {
                let awaited = self.awaited();
                if awaited.is_empty() {
                    self.0.first.notified().await;
                } else {
                    let rest = self.look(&store, &awaited).await;
                    tokio::time::sleep(rest).await;
                }
            }
        };
        self.0.stop.run_until_cancelled(Box::pin(watching)).await.unwrap_or(());
    }

    /// Looks once, and returns when to look again.
    async fn look(&self, store: &Store, awaited: &[OrderId]) -> Duration {
        let ended = match store.ended(awaited).await {
            Ok(ended) => ended,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not see which orders ended");
                return REST;
            }
        };
        self.callers(|callers| {
            for order_id in ended {
                for caller in callers.remove(&order_id).unwrap_or_default() {
                    // It may have gone away.
                    let _ = caller.send(());
                }
            }
        });
        TICK
    }

    /// The orders that somebody still waits for.
    fn awaited(&self) -> Vec<OrderId> {
        self.callers(|callers| {
            callers.retain(|_, waiting| {
                waiting.retain(|caller| !caller.is_closed());
                !waiting.is_empty()
            });
            callers.keys().copied().collect()
        })
    }

    fn callers<T>(&self, change: impl FnOnce(&mut HashMap<OrderId, Vec<oneshot::Sender<()>>>) -> T) -> T {
        change(&mut self.0.callers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
