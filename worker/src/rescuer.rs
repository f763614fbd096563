use std::sync::Arc;
use std::time::Duration;

use orders_shared::shutdown::Shutdown;
use orders_shared::store::{Rescued, Store, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::heart::interval;
use crate::metrics::WorkerMetrics;

/// Declares workers dead whose heartbeats have run out, and takes their orders back. Every live worker does so; none
/// leads.
pub(crate) struct Rescuer {
    store: Store,
    /// Since when this worker's own heartbeats got through.
    steady: watch::Receiver<Option<Instant>>,
    dead_after: Duration,
    metrics: Arc<WorkerMetrics>,
}

impl Rescuer {
    pub(crate) fn new(
        store: Store,
        steady: watch::Receiver<Option<Instant>>,
        dead_after: Duration,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        Self { store, steady, dead_after, metrics }
    }

    /// Looks for dead workers as often as they should have beaten, until the shutdown begins.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let every = interval(self.dead_after);
        while tokio::time::timeout(every, shutdown.begun()).await.is_err() {
            // After an outage every heartbeat has run out. Those that live get the time to say so.
            let steady = *self.steady.borrow();
            if steady.is_none_or(|since| since.elapsed() < self.dead_after / 3) {
                continue;
            }
            match self.rescue().await {
                Ok(rescued) => self.metrics.rescued(rescued),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no rescue; trying again");
                }
            }
        }
    }

    async fn rescue(&self) -> Result<Rescued, StoreError> {
        let dead = self.store.bury_dead_workers().await?;
        let rescued = self.store.rescue_orphans().await?;
        if dead > 0 || rescued != Rescued::default() {
            let Rescued { rescued, poisonous } = rescued;
            tracing::warn!(dead, rescued, poisonous, "took orders back from dead workers");
        }
        Ok(rescued)
    }
}
