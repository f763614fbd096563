use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::Claim;
use orders_shared::store::{Finished, Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::desk::{Ending, Outcome};
use crate::metrics::WorkerMetrics;

/// Outcomes that one commit takes at most.
const FINISH_BATCH_MAX: usize = 1_000;

/// Wait before a commit that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Once the grace period is over, how much longer it tries to commit; then the process ends with what it holds.
const LAST_TRIES: Duration = Duration::from_secs(1);

/// Commits outcomes in batches: each commit takes all that have come in since the one before.
pub(crate) struct Finisher {
    store: Store,
    endings: mpsc::UnboundedReceiver<Ending>,
    metrics: Arc<WorkerMetrics>,
}

impl Finisher {
    pub(crate) fn new(store: Store, endings: mpsc::UnboundedReceiver<Ending>, metrics: Arc<WorkerMetrics>) -> Self {
        Self { store, endings, metrics }
    }

    /// Runs until every sender of endings is gone. After `stop` it gives a commit up once `grace` is over.
    pub(crate) async fn run(mut self, stop: CancellationToken, grace: Duration) {
        let deadline = tokio::spawn(async move {
            stop.cancelled().await;
            tokio::time::sleep_until(Instant::now() + grace + LAST_TRIES).await;
        });
        let too_late = async move {
            let _ = deadline.await;
        };
        let finished = async move {
            let mut batch = Vec::with_capacity(FINISH_BATCH_MAX);
            while self.endings.recv_many(&mut batch, FINISH_BATCH_MAX).await > 0 {
                self.commit(std::mem::take(&mut batch)).await;
            }
        };
        tokio::select! {
            () = finished => {}
            () = too_late => tracing::error!("the database did not take the last outcomes; their orders stay PROCESSING"),
        }
    }

    /// Commits what became of these orders, then frees their slots.
    async fn commit(&self, batch: Vec<Ending>) {
        let (mut done, mut given_up) = (Vec::new(), Vec::new());
        let mut slots: Vec<OwnedSemaphorePermit> = Vec::with_capacity(batch.len());
        for Ending { claim, outcome, slot } in batch {
            slots.push(slot);
            match outcome {
                Outcome::Done => done.push(claim),
                Outcome::GivenUp => given_up.push(claim),
            }
        }
        if !done.is_empty() {
            let finished = persistently(done, |claims| self.store.complete(claims)).await;
            self.metrics.completed(finished);
        }
        if !given_up.is_empty() {
            let finished = persistently(given_up, |claims| self.store.release(claims)).await;
            self.metrics.released(finished);
        }
    }
}

/// Tries until the database takes it. The claims' tokens make that safe.
async fn persistently<F, Fut>(mut claims: Vec<Claim>, commit: F) -> Finished
where
    F: Fn(Vec<Claim>) -> Fut,
    Fut: Future<Output = Result<Finished, (Vec<Claim>, StoreError)>>,
{
    loop {
        match commit(claims).await {
            Ok(finished) => return finished,
            Err((back, error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    orders = back.len(),
                    "no commit; trying again"
                );
                claims = back;
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}
