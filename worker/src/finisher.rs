use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::{Claim, FailedAttempt};
use orders_shared::store::{Partly, Store, StoreError};
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use crate::desk::{Outcome, WorkResult};
use crate::health::Health;
use crate::metrics::WorkerMetrics;

/// Outcomes that one commit takes at most.
const FINISH_BATCH_MAX: usize = 1_000;

/// Wait before outcomes that were not committed are tried again; up to twice as long, so that workers that met in a
/// deadlock do not meet again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Wait before an outcome is tried again that the database refuses for a reason that does not pass by itself.
const REFUSED_RETRY_AFTER: Duration = Duration::from_secs(2);

/// Finishers of one worker. While one waits for its commit, the other's statement runs; more would only make the batches
/// smaller.
pub(crate) const FINISHERS: usize = 2;

/// Where finishers find what has ended.
pub(crate) type Endings = Arc<Mutex<mpsc::UnboundedReceiver<WorkResult>>>;

/// Commits outcomes in batches: each commit takes all that have come in since the one before.
pub(crate) struct Finisher {
    store: Store,
    endings: Endings,
    health: Arc<Health>,
    metrics: Arc<WorkerMetrics>,
    done: Outcomes<Claim>,
    handed_back: Outcomes<Claim>,
    failed: Outcomes<FailedAttempt>,
}

/// The outcomes of one kind that are to be committed, each with the slots that it holds.
struct Outcomes<T> {
    waiting: Vec<(T, OwnedSemaphorePermit)>,
    /// The database refuses these, each for itself: they are tried apart, and hold no other up.
    refused: Vec<(T, OwnedSemaphorePermit)>,
    /// Why.
    why: Option<String>,
}

impl Finisher {
    pub(crate) fn new(store: Store, endings: Endings, health: Arc<Health>, metrics: Arc<WorkerMetrics>) -> Self {
        let (done, handed_back, failed) = (Outcomes::default(), Outcomes::default(), Outcomes::default());
        Self { store, endings, health, metrics, done, handed_back, failed }
    }

    /// Runs until every sender of endings is gone and every outcome is committed.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(FINISH_BATCH_MAX);
        let mut try_refused_at = Instant::now();
        let mut more = true;
        loop {
            if self.waits() {
                tokio::time::sleep(RETRY_AFTER.mul_f64(1.0 + fastrand::f64())).await;
                // Locked, it is the other one who waits for more.
                if let Ok(mut endings) = self.endings.try_lock() {
                    while let Ok(ending) = endings.try_recv() {
                        batch.push(ending);
                    }
                }
            } else if more || self.is_refused() {
                tokio::select! {
                    received = receive(&self.endings, &mut batch), if more => more = received > 0,
                    () = tokio::time::sleep_until(try_refused_at), if self.is_refused() => {}
                }
            } else {
                return;
            }
            batch.drain(..).for_each(|ending| self.add(ending));
            let tries_refused = self.is_refused() && Instant::now() >= try_refused_at;
            if tries_refused {
                try_refused_at = Instant::now() + REFUSED_RETRY_AFTER;
            }
            Box::pin(self.commit(tries_refused)).await;
        }
    }

    /// Commits what the database takes; the rest stays where it is.
    async fn commit(&mut self, refused_too: bool) {
        let (store, metrics) = (&self.store, &self.metrics);
        self.done.commit(refused_too, |claims| store.complete(claims), |it| metrics.completed(it)).await;
        self.handed_back.commit(refused_too, |claims| store.release(claims), |it| metrics.released(it)).await;
        self.failed.commit(refused_too, |attempts| store.fail(attempts), |it| metrics.settled(it)).await;
        let why = [&self.done.why, &self.handed_back.why, &self.failed.why];
        self.health.refused(why.into_iter().flatten().next().cloned());
    }

    fn waits(&self) -> bool {
        !(self.done.waiting.is_empty() && self.handed_back.waiting.is_empty() && self.failed.waiting.is_empty())
    }

    fn is_refused(&self) -> bool {
        !(self.done.refused.is_empty() && self.handed_back.refused.is_empty() && self.failed.refused.is_empty())
    }

    fn add(&mut self, WorkResult { claim, outcome, slots }: WorkResult) {
        match outcome {
            Outcome::Done => self.done.waiting.push((claim, slots)),
            Outcome::HandedBack => self.handed_back.waiting.push((claim, slots)),
            Outcome::Failed { error, duration, next_step } => {
                self.failed.waiting.push((FailedAttempt { claim, error, duration, next_step }, slots));
            }
        }
    }
}

/// Waits until something has ended, and takes it; nothing, once nothing will come any more.
async fn receive(endings: &Endings, batch: &mut Vec<WorkResult>) -> usize {
    endings.lock().await.recv_many(batch, FINISH_BATCH_MAX).await
}

impl<T> Outcomes<T> {
    /// Commits all that wait, in halves where the database refuses a batch for good, until a single bad one is found.
    /// The claims' tokens make trying again safe.
    async fn commit<Done, Fut>(&mut self, refused_too: bool, commit: impl Fn(Vec<T>) -> Fut, count: impl Fn(Done))
    where
        Fut: Future<Output = Result<Partly<T, Done>, (Vec<T>, StoreError)>>,
    {
        let mut batches: Vec<Vec<_>> = Vec::new();
        if refused_too {
            batches.extend(self.refused.drain(..).map(|one| vec![one]));
        }
        while !self.waiting.is_empty() {
            let some = self.waiting.len().min(FINISH_BATCH_MAX);
            batches.push(self.waiting.drain(..some).collect());
        }
        while let Some(batch) = batches.pop() {
            let (items, slots): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            match commit(items).await {
                Ok(Partly { done, busy }) => {
                    count(done);
                    // One order's slots are as good as another's; a suspect, which holds all, comes alone.
                    self.waiting.extend(busy.into_iter().zip(slots));
                }
                Err((back, error)) => {
                    let (passing, outcomes) = (error.is_passing(), back.len());
                    tracing::warn!(error = &error as &dyn Error, outcomes, "not committed; trying again");
                    let mut back: Vec<_> = back.into_iter().zip(slots).collect();
                    if passing {
                        self.waiting.extend(back);
                    } else if outcomes > 1 {
                        batches.push(back.split_off(outcomes / 2));
                        batches.push(back);
                    } else {
                        let cause = error.source().map(ToString::to_string).unwrap_or_default();
                        self.why = Some(format!("{error}: {cause}"));
                        self.refused.extend(back);
                    }
                }
            }
        }
        if self.refused.is_empty() {
            self.why = None;
        }
    }
}

impl<T> Default for Outcomes<T> {
    fn default() -> Self {
        Self { waiting: Vec::new(), refused: Vec::new(), why: None }
    }
}
