use std::collections::BTreeMap;
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

/// Of the connections, one in so many may wait at one time, so that those who wait, each for up to a minute, leave room for
/// all others, and each look asks about a bounded list. Fewer would turn usual clients away.
const WAITERS_ONE_IN: usize = 4;

/// Tells callers when their orders reach an end. However many wait, one query a tick serves them, and none holds a
/// connection to the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiters: Mutex<Waiters>,
    waiters_max: usize,
    first: Notify,
    stop: CancellationToken,
}

/// Who waits, by order.
#[derive(Debug, Default)]
struct Waiters {
    waiting: BTreeMap<Key, oneshot::Sender<()>>,
    last: u64,
}

/// Of one caller: its order, and its number.
type Key = (OrderId, u64);

/// One caller that waits for an order's end; it leaves when this is dropped.
pub(crate) struct Waiter {
    ends: Ends,
    key: Key,
    ended: oneshot::Receiver<()>,
}

impl Ends {
    /// For a process with so many connections at most. Waits are cut short by `stop`.
    pub(crate) fn new(connections: usize, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner { waiters_max: connections / WAITERS_ONE_IN, stop, ..Inner::default() }))
    }

    /// Enters a caller that is about to wait for an order's end; `None` when too many do.
    pub(crate) fn enter(&self, order_id: OrderId) -> Option<Waiter> {
        let (told, ended) = oneshot::channel();
        let key = self.waiters(|waiters| {
            if waiters.waiting.len() >= self.0.waiters_max {
                return None;
            }
            waiters.last += 1;
            let key = (order_id, waiters.last);
            waiters.waiting.insert(key, told);
            Some(key)
        })?;
        self.0.first.notify_one();
        Some(Waiter { ends: self.clone(), key, ended })
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
        self.waiters(|waiters| {
            for order_id in ended {
                waiters.tell(order_id);
            }
        });
        TICK
    }

    /// The orders that somebody waits for, each once.
    fn awaited(&self) -> Vec<OrderId> {
        let mut awaited: Vec<_> =
            self.waiters(|waiters| waiters.waiting.keys().map(|(order_id, _)| *order_id).collect());
        awaited.dedup();
        awaited
    }

    fn waiters<T>(&self, change: impl FnOnce(&mut Waiters) -> T) -> T {
        change(&mut self.0.waiters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Waiters {
    /// The order has ended.
    fn tell(&mut self, order_id: OrderId) {
        let of_order = self.waiting.extract_if((order_id, 0)..=(order_id, u64::MAX), |_, _| true);
        for (_, waiter) in of_order {
            // It may have gone away.
            let _ = waiter.send(());
        }
    }
}

impl Waiter {
    /// Waits until the order has reached an end, for `limit` at most.
    pub(crate) async fn wait(mut self, limit: Duration) {
        let ended = tokio::time::timeout(limit, &mut self.ended);
        let _ = self.ends.0.stop.run_until_cancelled(ended).await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.ends.waiters(|waiters| waiters.waiting.remove(&self.key));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn order(number: u128) -> OrderId {
        OrderId::from(Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn a_caller_is_told_of_its_own_order() {
        let ends = Ends::new(12, CancellationToken::new());
        let (mut first, mut second) = (ends.enter(order(1)).unwrap(), ends.enter(order(1)).unwrap());
        let mut other = ends.enter(order(2)).unwrap();
        assert_eq!(ends.awaited(), [order(1), order(2)]);

        ends.waiters(|waiters| waiters.tell(order(1)));

        assert_eq!((first.ended.try_recv(), second.ended.try_recv()), (Ok(()), Ok(())));
        assert!(other.ended.try_recv().is_err());
        assert_eq!(ends.awaited(), [order(2)]);
    }

    #[test]
    fn only_so_many_wait_and_who_leaves_makes_room_at_once() {
        let ends = Ends::new(12, CancellationToken::new());
        let mut waiters: Vec<_> = (0..3).map(|_| ends.enter(order(1)).unwrap()).collect();
        assert!(ends.enter(order(2)).is_none());

        waiters.pop();

        assert!(ends.enter(order(2)).is_some());
        drop(waiters);
        assert_eq!(ends.awaited(), []);
    }
}
