use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::{Claim, FailedAttempt};
use orders_shared::store::{Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::desk::{Ending, Outcome};
use crate::health::Health;
use crate::metrics::WorkerMetrics;

/// Outcomes that one commit takes at most.
const FINISH_BATCH_MAX: usize = 1_000;

/// Wait before outcomes that were not committed are tried again; up to twice as long, so that workers that met in a
/// deadlock do not meet again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Commits outcomes in batches: each commit takes all that have come in since the one before.
pub(crate) struct Finisher {
    store: Store,
    endings: mpsc::UnboundedReceiver<Ending>,
    health: Arc<Health>,
    metrics: Arc<WorkerMetrics>,
}

/// The outcomes of one kind that wait for a commit, and the slots that they hold.
#[derive(Default)]
struct Waiting {
    done: Vec<(Claim, OwnedSemaphorePermit)>,
    handed_back: Vec<(Claim, OwnedSemaphorePermit)>,
    failed: Vec<(FailedAttempt, OwnedSemaphorePermit)>,
}

impl Finisher {
    pub(crate) fn new(
        store: Store,
        endings: mpsc::UnboundedReceiver<Ending>,
        health: Arc<Health>,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        Self { store, endings, health, metrics }
    }

    /// Runs until every sender of endings is gone and every outcome is committed.
    pub(crate) async fn run(mut self) {
        let mut waiting = Waiting::default();
        let mut batch = Vec::with_capacity(FINISH_BATCH_MAX);
        loop {
            if !waiting.is_empty() {
                tokio::time::sleep(RETRY_AFTER.mul_f64(1.0 + fastrand::f64())).await;
                while let Ok(ending) = self.endings.try_recv() {
                    batch.push(ending);
                }
            } else if self.endings.recv_many(&mut batch, FINISH_BATCH_MAX).await == 0 {
                return;
            }
            batch.drain(..).for_each(|ending| waiting.add(ending));
            self.commit(&mut waiting).await;
        }
    }

    /// Commits what the database takes; the rest stays where it is.
    async fn commit(&self, waiting: &mut Waiting) {
        let (store, metrics) = (&self.store, &self.metrics);
        let refused = [
            finish(&mut waiting.done, |claims| store.complete(claims), |it| metrics.completed(it)).await,
            finish(&mut waiting.handed_back, |claims| store.release(claims), |it| metrics.released(it)).await,
            finish(&mut waiting.failed, |attempts| store.fail(attempts), |it| metrics.settled(it)).await,
        ];
        self.health.refused(refused.into_iter().flatten().next());
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.done.is_empty() && self.handed_back.is_empty() && self.failed.is_empty()
    }

    fn add(&mut self, Ending { claim, outcome, slots }: Ending) {
        match outcome {
            Outcome::Done => self.done.push((claim, slots)),
            Outcome::HandedBack => self.handed_back.push((claim, slots)),
            Outcome::Failed { error, duration, verdict } => {
                self.failed.push((FailedAttempt { claim, error, duration, verdict }, slots));
            }
        }
    }
}

/// Commits all of `waiting`, or, where the database refuses that for good, one by one: a single bad one stays behind
/// alone. The claims' tokens make trying again safe. Returns why one stayed behind that no waiting will help.
async fn finish<T, Done, Fut>(
    waiting: &mut Vec<(T, OwnedSemaphorePermit)>,
    commit: impl Fn(Vec<T>) -> Fut,
    count: impl Fn(Done),
) -> Option<StoreError>
where
    Fut: Future<Output = Result<Done, (Vec<T>, StoreError)>>,
{
    let mut refused = None;
    let mut batches = vec![std::mem::take(waiting)];
    while let Some(batch) = batches.pop().filter(|batch| !batch.is_empty()) {
        let (items, slots): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        match commit(items).await {
            Ok(done) => count(done),
            Err((back, error)) => {
                let (passing, outcomes) = (error.is_passing(), back.len());
                tracing::warn!(error = &error as &dyn std::error::Error, outcomes, "not committed; trying again");
                let back = back.into_iter().zip(slots);
                if passing || outcomes == 1 {
                    waiting.extend(back);
                    refused = refused.or(Some(error).filter(|_| !passing));
                } else {
                    batches.extend(back.map(|one| vec![one]));
                }
            }
        }
    }
    refused
}
