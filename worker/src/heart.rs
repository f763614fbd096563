use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::{Heartbeat, Registration, WorkerId};
use orders_shared::store::{Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bell::Door;
use crate::metrics::WorkerMetrics;

/// The longest time between two heartbeats. A few are missed before a worker is dead.
const BEAT_MAX: Duration = Duration::from_secs(3);

/// Wait before a heartbeat that did not get through is tried again.
const RETRY_MAX: Duration = Duration::from_millis(500);

/// The database lets several claimers have one row: this program cannot run on it.
#[derive(Debug, thiserror::Error)]
#[error(
    "this database does not skip locked rows (SELECT … FOR UPDATE SKIP LOCKED), so several workers would get the same \
     order: run on MySQL 8.0 or later, or MariaDB 10.6 or later, and on one writable node"
)]
pub(crate) struct SkipsNothing;

/// Who this worker is among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) worker_id: WorkerId,
    /// No other worker lives for longer.
    pub(crate) eldest: bool,
}

/// Keeps this worker known to the others, by a connection of its own, so that no load delays a heartbeat.
pub(crate) struct Heart {
    /// One connection, for heartbeats alone.
    line: Store,
    store: Store,
    door: Door,
    registration: Registration,
    identity: watch::Sender<Option<Identity>>,
    metrics: Arc<WorkerMetrics>,
}

impl Heart {
    pub(crate) fn new(
        line: Store,
        store: Store,
        door: Door,
        registration: Registration,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        Self { line, store, door, registration, identity: watch::Sender::new(None), metrics }
    }

    /// Who this worker is, as soon as it is known; nobody while it counts as dead.
    pub(crate) fn identity(&self) -> watch::Receiver<Option<Identity>> {
        self.identity.subscribe()
    }

    /// Beats until `stop`, then takes this worker off the list.
    ///
    /// # Errors
    ///
    /// When the database does not honour SKIP LOCKED.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), SkipsNothing> {
        let refused = stop.run_until_cancelled(Box::pin(self.live())).await;
        // Nobody must wait for the heartbeat to run out.
        if let Err(error) = self.line.unregister(self.registration.worker_id).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "others will see in time that this worker is gone"
            );
        }
        refused.map_or(Ok(()), Err)
    }

    /// One life after the other. Ends only where claims would not be safe.
    async fn live(&mut self) -> SkipsNothing {
        let mut worker_id = self.enter().await;
        loop {
            match self.store.skips_locked_rows(worker_id).await {
                Ok(true) => break,
                Ok(false) => return SkipsNothing,
                Err(error) => {
                    self.missed(&error).await;
                    // Without heartbeats that registration may have run out.
                    let _ = self.line.unregister(worker_id).await;
                    worker_id = self.enter().await;
                }
            }
        }
        loop {
            self.identity.send_replace(Some(Identity { worker_id, eldest: false }));
            self.beat_until_dead().await;
            tracing::error!(%worker_id, "declared dead; starting afresh");
            self.metrics.deaths.inc();
            self.identity.send_replace(None);
            worker_id = self.enter().await;
        }
    }

    /// Enters this process under a fresh id, however long the database is away.
    async fn enter(&mut self) -> WorkerId {
        loop {
            // Afresh each time: the registration before may have been made, and its answer lost. It runs out by itself.
            self.registration.worker_id = WorkerId::fresh();
            self.registration.wakeup_address = self.door.address().await;
            match self.line.register(&self.registration).await {
                Ok(()) => break,
                Err(error) => self.missed(&error).await,
            }
        }
        let Registration { worker_id, host, pid, slots, wakeup_address, .. } = &self.registration;
        let wakeup_address =
            wakeup_address.map_or_else(|| "none".to_owned(), |wakeup_address| wakeup_address.to_string());
        tracing::info!(%worker_id, host, pid, slots, wakeup_address, "registered");
        *worker_id
    }

    async fn beat_until_dead(&self) {
        let every = interval(self.registration.dead_after);
        loop {
            let busy = u32::try_from(self.metrics.busy.get()).unwrap_or_default();
            // A heartbeat that hangs must not use up the time in which the next one could get through.
            match tokio::time::timeout(every, self.line.beat(&self.registration, busy)).await {
                Ok(Ok(Heartbeat::Alive { eldest })) => {
                    self.identity.send_if_modified(|identity| {
                        let known = identity.replace(Identity { worker_id: self.registration.worker_id, eldest });
                        known != *identity
                    });
                    tokio::time::sleep(every).await;
                }
                Ok(Ok(Heartbeat::Dead)) => return,
                Ok(Err(error)) => self.missed(&error).await,
                Err(_) => tracing::warn!("no answer to a heartbeat; trying again"),
            }
        }
    }

    async fn missed(&self, error: &StoreError) {
        tracing::warn!(error = error as &dyn std::error::Error, "no heartbeat; trying again");
        tokio::time::sleep(interval(self.registration.dead_after).min(RETRY_MAX)).await;
    }
}

/// The time between two heartbeats of a worker that is dead after this long.
pub(crate) fn interval(dead_after: Duration) -> Duration {
    (dead_after / 5).min(BEAT_MAX)
}
