use std::sync::Arc;
use std::time::Duration;

use orders_shared::store::Store;
use tokio_util::sync::CancellationToken;

use crate::WorkerSettings;
use crate::desk::Desk;
use crate::metrics::WorkerMetrics;

/// Orders that one claim takes at most. More would hold row locks for longer than other claimers should skip.
const CLAIM_BATCH_MAX: usize = 500;

/// Wait after a claim that the database refused or did not answer.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The one claimer of this process: takes as many due orders as there are free slots, never one query a slot.
pub(crate) struct Fetcher {
    store: Store,
    desk: Desk,
    settings: WorkerSettings,
    metrics: Arc<WorkerMetrics>,
}

impl Fetcher {
    pub(crate) fn new(store: Store, desk: Desk, settings: WorkerSettings, metrics: Arc<WorkerMetrics>) -> Self {
        Self { store, desk, settings, metrics }
    }

    /// Claims until `stop`, then waits for the orders under way, as long as the grace period lasts, and ends the rest.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = self.fetch(&stop).await;
            if let Some(pause) = pause {
                let _ = tokio::time::timeout(pause, stop.cancelled()).await;
            }
        }
        if tokio::time::timeout(self.settings.grace, self.desk.drained()).await.is_err() {
            self.desk.give_up();
            // The finisher bounds how long it tries, so this ends.
            self.desk.drained().await;
        }
    }

    /// Claims once. Returns how long to wait before the next claim, when there is nothing to do right away.
    async fn fetch(&mut self, stop: &CancellationToken) -> Option<Duration> {
        let mut slots = tokio::select! {
            () = stop.cancelled() => return None,
            slots = self.desk.free_slots() => slots,
        };
        slots.truncate(CLAIM_BATCH_MAX);
        let wanted = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        // A claim that was begun is waited for: dropped halfway it could hold orders that nobody works on.
        let claims = match self.store.claim(wanted).await {
            Ok(claims) => claims,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no claim; trying again");
                return Some(RETRY_AFTER);
            }
        };
        if claims.is_empty() {
            return Some(self.settings.poll);
        }
        self.metrics.claimed(claims.len());
        for (claim, slot) in claims.into_iter().zip(slots) {
            self.desk.start(claim, slot);
        }
        None
    }
}
