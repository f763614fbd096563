//! Chores that one worker does for all: the one that holds their lease.

use std::time::Duration;

use orders_shared::shutdown::Shutdown;
use orders_shared::store::{PRUNE_MAX, Store};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::heartbeat::Identity;

/// The rest after a chore had nothing left to do, or another worker does it. A longer one lets more gather, and leaves the
/// chores of a worker that ended undone for longer; a shorter one asks for nothing.
const REST: Duration = Duration::from_mins(1);

/// The rest between two full batches, so that the work on orders comes first.
const BATCHES_APART: Duration = Duration::from_millis(100);

pub(crate) struct Housekeeping {
    pub(crate) store: Store,
    /// Only a registered worker can hold a lease.
    pub(crate) identity: watch::Receiver<Option<Identity>>,
}

impl Housekeeping {
    /// Does the chores batch by batch until the shutdown begins.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        while let Some(Identity { worker_id, .. }) = self.registered(&shutdown).await {
            let rest = match self.store.prune_idempotency_keys(worker_id).await {
                Ok(Some(pruned)) if pruned == u64::from(PRUNE_MAX) => BATCHES_APART,
                Ok(_) => REST,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "could not prune idempotency keys; trying again later");
                    REST
                }
            };
            if timeout(rest, shutdown.begun()).await.is_ok() {
                return;
            }
        }
    }

    /// Who this worker is, once it is registered; `None` when the shutdown begins first.
    async fn registered(&mut self, shutdown: &Shutdown) -> Option<Identity> {
        tokio::select! {
            () = shutdown.begun() => None,
            identity = self.identity.wait_for(Option::is_some) => identity.ok().and_then(|identity| *identity),
        }
    }
}
