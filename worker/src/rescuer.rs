//! Declares workers dead whose heartbeats have expired, and takes their orders back. Every live worker does so; none
//! leads.

use std::sync::Arc;

use orders_shared::domain::Registration;
use orders_shared::shutdown::Shutdown;
use orders_shared::store::{Settled, Store, StoreError};
use tokio::sync::watch;

use crate::heartbeat::{Identity, interval};
use crate::metrics::WorkerMetrics;

pub(crate) struct Rescuer {
    pub(crate) store: Store,
    /// While this worker is not registered, it declares no other worker dead.
    pub(crate) identity: watch::Receiver<Option<Identity>>,
    pub(crate) registration: Registration,
    pub(crate) clock_is_behind: bool,
    pub(crate) metrics: Arc<WorkerMetrics>,
}

impl Rescuer {
    /// Looks for dead workers once per heartbeat interval until the shutdown begins.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let every = interval(self.registration.dead_after);
        while tokio::time::timeout(every, shutdown.begun()).await.is_err() {
            let identity = *self.identity.borrow();
            let Some(Identity { worker_id, .. }) = identity else { continue };
            self.registration.worker_id = worker_id;
            if let Err(error) = self.rescue().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "rescue failed; trying again");
            }
        }
    }

    async fn rescue(&mut self) -> Result<(), StoreError> {
        let behind = self.store.check_clock().await?;
        let was_behind = std::mem::replace(&mut self.clock_is_behind, !behind.is_zero());
        if self.clock_is_behind && !was_behind {
            tracing::warn!(?behind, "the database's clock went back; orders that were due before are still claimed");
        }
        let dead = self.store.expire_workers(&self.registration).await?;
        if dead > 0 {
            tracing::warn!(dead, "declared workers dead whose heartbeats expired");
        }
        let mut after = None;
        loop {
            let (batch, last) = self.store.rescue_orphans(after).await?;
            if batch != Settled::default() {
                let Settled { pending: rescued, failed: poisonous, .. } = batch;
                tracing::warn!(rescued, poisonous, "took back the orders of dead workers");
                self.metrics.rescued(batch);
            }
            after = last;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}
