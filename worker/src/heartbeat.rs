//! Shows the other workers that this one is alive, over a connection of its own, so that no load delays a heartbeat.
//!
//! Before its first claim a worker registers, under an id that is fresh at each start, and proves with two connections
//! that this database skips locked rows.
//!
//! A process that was stopped or cut off for a while finds no row at its next heartbeat. It gives up what it holds,
//! registers under a new id, and goes on. The fence refuses what it had finished, and a claim asks for its worker's
//! row, so that it claims nothing under the old id.
//!
//! A worker that ends in good order deletes its own row as its last act: the others rescue at once what it could not
//! hand back.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::{Heartbeat, Registration, WorkerId};
use orders_shared::store::{Store, StoreError};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::gate::{Gate, Shown};
use crate::metrics::WorkerMetrics;
use crate::wakeup::AdvertisedAddress;

/// The longest time between two heartbeats. A longer one would show the load of each worker later in `GET /queue`.
const INTERVAL_MAX: Duration = Duration::from_secs(3);

/// The shortest time between two heartbeats, of which the second tells that the service is away or back. A service that
/// comes and goes must not make the workers write all the time.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The longest wait before a failed heartbeat is tried again.
const HEARTBEAT_RETRY_MAX: Duration = Duration::from_millis(500);

/// The database gives one row to several claimers, so this program cannot run on it.
#[derive(Debug, thiserror::Error)]
#[error(
    "this database does not skip locked rows (SELECT … FOR UPDATE SKIP LOCKED), so several workers would claim the same \
     order: use MySQL 8.0 or later, or MariaDB 10.6 or later, with a single writable node"
)]
pub(crate) struct SkipsNothing;

/// Who this worker is among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) worker_id: WorkerId,
    /// It registered before every other live worker.
    pub(crate) eldest: bool,
}

pub(crate) struct Heartbeats {
    /// Has one connection, which is used for heartbeats alone.
    pub(crate) heartbeat_store: Store,
    pub(crate) store: Store,
    pub(crate) advertised_address: AdvertisedAddress,
    pub(crate) registration: Registration,
    /// Who this worker is, once it is registered; `None` while it counts as dead.
    pub(crate) identity: watch::Sender<Option<Identity>>,
    /// Whether the service is well; `None` if orders are not pushed to one.
    pub(crate) gate: Option<Arc<Gate>>,
    pub(crate) metrics: Arc<WorkerMetrics>,
}

impl Heartbeats {
    /// Sends heartbeats until `stop`, then unregisters this worker. Fails if SKIP LOCKED does not work.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), SkipsNothing> {
        let failed = stop.run_until_cancelled(Box::pin(self.live())).await;
        // Otherwise the others would wait for the last heartbeat to expire.
        if let Err(error) = self.heartbeat_store.unregister(self.registration.worker_id).await {
            let error = &error as &dyn Error;
            tracing::warn!(error, "could not unregister; other workers will notice when the last heartbeat expires");
        }
        failed.map_or(Ok(()), Err)
    }

    /// Registers again each time this worker has been declared dead. Returns only if claims would not be safe.
    async fn live(&mut self) -> SkipsNothing {
        let mut skips_locked_rows = false;
        loop {
            let worker_id = self.register().await;
            match if skips_locked_rows { Ok(true) } else { self.store.skips_locked_rows(worker_id).await } {
                Ok(true) => skips_locked_rows = true,
                Ok(false) => return SkipsNothing,
                Err(error) => {
                    self.wait_after(&error).await;
                    // It has sent no heartbeat since, so that registration may have expired.
                    let _ = self.heartbeat_store.unregister(worker_id).await;
                    continue;
                }
            }
            self.identity.send_replace(Some(Identity { worker_id, eldest: false }));
            self.beat_until_dead().await;
            tracing::error!(%worker_id, "declared dead; registering again");
            self.metrics.deaths.inc();
            self.identity.send_replace(None);
        }
    }

    /// Registers this process under a fresh id, and waits for as long as the database is away.
    async fn register(&mut self) -> WorkerId {
        loop {
            // The last try may have succeeded although no answer came; that registration expires by itself.
            self.registration.worker_id = WorkerId::fresh();
            self.registration.wakeup_address = self.advertised_address.find().await;
            match self.heartbeat_store.register(&self.registration).await {
                Ok(()) => break,
                Err(error) => self.wait_after(&error).await,
            }
        }
        let Registration { worker_id, host, pid, slots, wakeup_address, .. } = &self.registration;
        let wakeup_address = wakeup_address.map_or_else(|| "none".to_owned(), |address| address.to_string());
        tracing::info!(%worker_id, host, pid, slots, wakeup_address, "registered");
        *worker_id
    }

    async fn beat_until_dead(&self) {
        let every = interval(self.registration.dead_after);
        loop {
            let slots_busy = u32::try_from(self.metrics.slots_busy.get()).unwrap_or_default();
            let breaker = self.gate.as_ref().map(|gate| gate.state());
            let told = breaker.as_ref().map(|(state, reason)| (*state, reason.as_deref()));
            // A heartbeat that hangs must not use up the time in which another one could get through.
            match timeout(every, self.heartbeat_store.beat(&self.registration, slots_busy, told)).await {
                Ok(Ok(Heartbeat::Alive { eldest, pushing })) => {
                    let identity = Some(Identity { worker_id: self.registration.worker_id, eldest });
                    self.identity.send_if_modified(|known| std::mem::replace(known, identity) != identity);
                    if let Some((gate, told)) = self.gate.as_deref().zip(breaker) {
                        gate.set_pushing(pushing);
                        wait_for_news(gate, &told, every).await;
                    } else {
                        sleep(every).await;
                    }
                }
                Ok(Ok(Heartbeat::Dead)) => return,
                Ok(Err(error)) => self.wait_after(&error).await,
                Err(_) => tracing::warn!("a heartbeat was not answered; trying again"),
            }
        }
    }

    async fn wait_after(&self, error: &StoreError) {
        tracing::warn!(error = error as &dyn Error, "could not register or send a heartbeat; trying again");
        sleep(interval(self.registration.dead_after).min(HEARTBEAT_RETRY_MAX)).await;
    }
}

/// Waits for the time of the next heartbeat, which is sooner if there is more to tell than the last one told.
async fn wait_for_news(gate: &Gate, told: &Shown, every: Duration) {
    let news = async {
        sleep(INTERVAL_MIN).await;
        gate.state_other_than(told).await;
    };
    // Without news the time is up.
    let _ = timeout(every, news).await;
}

/// The time between two heartbeats of a worker that counts as dead after `dead_after` without one: a fifth of that, so
/// that several may fail.
pub(crate) fn interval(dead_after: Duration) -> Duration {
    (dead_after / 5).min(INTERVAL_MAX)
}
