use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orders_shared::domain::OrderId;
use orders_shared::store::Store;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

/// How often the awaited orders are checked, all by one query. More often would load the database for little gain; less
/// often would keep callers waiting although their orders have ended.
const CHECK_EVERY: Duration = Duration::from_millis(200);

/// Pause after a failed check. Shorter would fill the log while the database is away.
const AWAY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// One in this many connections may wait at a time. Waits take up to a minute each, so they must leave room for other
/// requests, and each check must ask about a bounded number of orders. Fewer waits would turn ordinary clients away.
const WAITERS_ONE_IN: usize = 4;

/// Tells callers when their orders end. One query at a time serves all who wait, and none of them holds a connection to
/// the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct OrderWaiters(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    waiters_max: usize,
    first: Notify,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By order and the number of the waiting caller.
    waiters: BTreeMap<(OrderId, u64), oneshot::Sender<()>>,
    last: u64,
}

/// One caller that waits for an order to end. Dropping it makes room for another.
pub(crate) struct Waiter {
    all: OrderWaiters,
    key: (OrderId, u64),
    told: oneshot::Receiver<()>,
}

impl OrderWaiters {
    /// For a process with room for so many connections. `stop` cuts waits short.
    pub(crate) fn new(connections: usize, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner { waiters_max: connections / WAITERS_ONE_IN, stop, ..Inner::default() }))
    }

    /// Registers a caller that is about to wait for an order to end; `None` if too many wait already.
    pub(crate) fn enter(&self, order_id: OrderId) -> Option<Waiter> {
        let (tell, told) = oneshot::channel();
        let key = self.waiting(|waiting| {
            if waiting.waiters.len() >= self.0.waiters_max {
                return None;
            }
            waiting.last += 1;
            let key = (order_id, waiting.last);
            waiting.waiters.insert(key, tell);
            Some(key)
        })?;
        self.0.first.notify_one();
        Some(Waiter { all: self.clone(), key, told })
    }

    /// Checks the awaited orders again and again, until `stop`.
    pub(crate) async fn watch(self, store: Store) {
        let watching = async {
            loop {
                let awaited = self.awaited();
                if awaited.is_empty() {
                    self.0.first.notified().await;
                } else {
                    let rest = self.check(&store, &awaited).await;
                    tokio::time::sleep(rest).await;
                }
            }
        };
        self.0.stop.run_until_cancelled(Box::pin(watching)).await.unwrap_or(());
    }

    /// Checks the awaited orders once, and returns the pause before the next check.
    async fn check(&self, store: &Store, awaited: &[OrderId]) -> Duration {
        match store.ended(awaited).await {
            Ok(ended) => {
                self.tell(&ended);
                CHECK_EVERY
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not check which orders have ended");
                AWAY_RETRY_AFTER
            }
        }
    }

    /// Ends the waits for these orders.
    fn tell(&self, ended: &[OrderId]) {
        self.waiting(|waiting| {
            for order_id in ended {
                for (_, waiter) in waiting.waiters.extract_if((*order_id, 0)..=(*order_id, u64::MAX), |_, _| true) {
                    // The receiver is gone if the caller left.
                    let _ = waiter.send(());
                }
            }
        });
    }

    /// The orders that callers wait for, each once.
    fn awaited(&self) -> Vec<OrderId> {
        let mut awaited: Vec<_> =
            self.waiting(|waiting| waiting.waiters.keys().map(|(order_id, _)| *order_id).collect());
        awaited.dedup();
        awaited
    }

    fn waiting<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        change(&mut self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Waiter {
    /// Waits until the order has ended, for `limit` at most.
    pub(crate) async fn wait(mut self, limit: Duration) {
        let told = tokio::time::timeout(limit, &mut self.told);
        let _ = self.all.0.stop.run_until_cancelled(told).await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.all.waiting(|waiting| waiting.waiters.remove(&self.key));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn callers_are_told_of_their_own_orders_and_who_leaves_makes_room_at_once() {
        let [one, other] = [1, 2].map(|number| OrderId::from(Uuid::from_u128(number)));
        let all = OrderWaiters::new(3 * WAITERS_ONE_IN, CancellationToken::new());
        let (mut first, mut second) = (all.enter(one).unwrap(), all.enter(one).unwrap());
        let mut third = all.enter(other).unwrap();
        assert!(all.enter(other).is_none(), "only so many wait");
        assert_eq!(all.awaited(), [one, other]);

        all.tell(&[one]);

        assert_eq!((first.told.try_recv(), second.told.try_recv()), (Ok(()), Ok(())));
        assert!(third.told.try_recv().is_err());
        drop(third);
        assert_eq!(all.awaited(), []);
        assert!(all.enter(other).is_some());
    }
}
