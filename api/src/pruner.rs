use std::time::Duration;

use orders_shared::store::{PRUNE_MAX, Store};
use tokio_util::sync::CancellationToken;

/// How long a pruner rests once nothing is old. Longer would let more gather, shorter would ask for nothing.
const PRUNE_EVERY: Duration = Duration::from_mins(1);

/// How long it rests between two full batches, so that callers come first.
const BATCHES_APART: Duration = Duration::from_millis(100);

/// Deletes old idempotency keys, batch by batch, until `stop`. Several processes at once do no harm.
pub(crate) async fn prune(store: Store, stop: CancellationToken) {
    loop {
        let rest = match store.prune_idempotency_keys().await {
            Ok(pruned) if pruned == u64::from(PRUNE_MAX) => BATCHES_APART,
            Ok(_) => PRUNE_EVERY,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not prune; trying again later");
                PRUNE_EVERY
            }
        };
        if stop.run_until_cancelled(tokio::time::sleep(rest)).await.is_none() {
            return;
        }
    }
}
