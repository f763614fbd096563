//! Chores that one worker does for all: the one that holds their lease.

use std::time::{Duration, Instant};

use orders_shared::shutdown::Shutdown;
use orders_shared::store::{PRUNE_MAX, Store};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::heartbeat::Identity;

/// The pause when a chore has nothing left to do, or another worker holds its lease. A longer one lets more accumulate, and
/// delays the takeover from a worker that ended; a shorter one only adds queries.
const CHORE_PAUSE: Duration = Duration::from_mins(1);

pub(crate) struct Housekeeping {
    pub(crate) store: Store,
    /// Only a registered worker can hold a lease.
    pub(crate) identity: watch::Receiver<Option<Identity>>,
}

impl Housekeeping {
    /// Does the chores batch by batch until the shutdown begins.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        while let Some(Identity { worker_id, .. }) = self.registered(&shutdown).await {
            let started = Instant::now();
            let pause = match self.store.prune_idempotency_keys(worker_id).await {
                // Half of the time is left to the work on orders, and still more keys are pruned than can be used.
                Ok(Some(pruned)) if pruned == u64::from(PRUNE_MAX) => started.elapsed(),
                Ok(_) => CHORE_PAUSE,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "could not prune idempotency keys; trying again later");
                    CHORE_PAUSE
                }
            };
            if timeout(pause, shutdown.begun()).await.is_ok() {
                return;
            }
        }
    }

    /// Who this worker is, once it is registered; `None` when the shutdown begins first.
    async fn registered(&mut self, shutdown: &Shutdown) -> Option<Identity> {
        tokio::select! {
            () = shutdown.begun() => None,
            // An error means that the heartbeat task failed: the worker must end with that, not as if the chores were done.
            Ok(identity) = self.identity.wait_for(Option::is_some) => *identity,
        }
    }
}
