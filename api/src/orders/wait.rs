use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orders_shared::domain::OrderId;
use orders_shared::store::Store;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

/// How often the orders that are waited for are looked at, all by one query. More often would load the database for little,
/// less often would keep callers waiting for what has happened.
const CHECK_EVERY: Duration = Duration::from_millis(200);

/// How long it rests when the database is away: what waits is told late rather than the log every time.
const AWAY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Of the connections, one in so many may wait at one time, so that those who wait, each for up to a minute, leave room for
/// all others, and each look asks about a bounded list. Fewer would turn usual clients away.
const WAITERS_ONE_IN: usize = 4;

/// Tells callers when their orders reach an end. However many wait, one query at a time serves them, and none holds a
/// connection to the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct OrderWaiters(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    waiters_max: usize,
    first: Notify,
    stop: CancellationToken,
}

/// Who waits: an order, and the number of one caller.
#[derive(Debug, Default)]
struct Waiting {
    waiters: BTreeMap<(OrderId, u64), oneshot::Sender<()>>,
    last: u64,
}

/// One caller that waits for an order's end; it leaves when this is dropped.
pub(crate) struct Waiter {
    all: OrderWaiters,
    key: (OrderId, u64),
    told: oneshot::Receiver<()>,
}

impl OrderWaiters {
    /// For a process with so many connections at most. Waits are cut short by `stop`.
    pub(crate) fn new(connections: usize, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner { waiters_max: connections / WAITERS_ONE_IN, stop, ..Inner::default() }))
    }

    /// Enters a caller that is about to wait for an order's end; `None` when too many do.
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

    /// Looks at the orders again and again, until `stop`.
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

    /// Looks once, and returns when to look again.
    async fn check(&self, store: &Store, awaited: &[OrderId]) -> Duration {
        match store.ended(awaited).await {
            Ok(ended) => {
                self.tell(&ended);
                CHECK_EVERY
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not see which orders ended");
                AWAY_RETRY_AFTER
            }
        }
    }

    /// Tells those who wait for these orders.
    fn tell(&self, ended: &[OrderId]) {
        self.waiting(|waiting| {
            for order_id in ended {
                for (_, waiter) in waiting.waiters.extract_if((*order_id, 0)..=(*order_id, u64::MAX), |_, _| true) {
                    // It may have gone away.
                    let _ = waiter.send(());
                }
            }
        });
    }

    /// The orders that somebody waits for, each once.
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
    /// Waits until the order has reached an end, for `limit` at most.
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
