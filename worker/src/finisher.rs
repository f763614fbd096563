//! Commits outcomes in batches: each commit takes all that have arrived since the last one.
//!
//! An outcome that the database rejects for good is retried by itself from then on. Its slot stays taken, and `/readyz` shows
//! the database's reason.
//!
//! `Invariant:` a slot becomes free only when the outcome of its order is committed.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::{Claim, Completion, UnfinishedAttempt};
use orders_shared::store::{BatchError, Settled, Store};
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::executor::{WorkEnd, WorkResult};
use crate::metrics::WorkerMetrics;

/// The most outcomes that one commit takes.
const FINISH_BATCH_MAX: usize = 1_000;

/// The wait before outcomes that were not committed are tried again, plus up to as much again at random, so that two
/// workers in a deadlock do not meet a second time.
const COMMIT_RETRY_AFTER: Duration = Duration::from_millis(100);

/// The wait before another try of an outcome that the database rejects for a lasting reason.
const REJECTED_RETRY_AFTER: Duration = Duration::from_secs(2);

/// The finishers of one worker. While one waits for its commit, the other's statement runs; more finishers would only
/// make the batches smaller.
pub(crate) const FINISHERS: usize = 2;

/// The results that the finishers share.
pub(crate) type Results = Arc<Mutex<mpsc::UnboundedReceiver<WorkResult>>>;

pub(crate) struct Finisher {
    store: Store,
    results: Results,
    rejection: watch::Sender<Option<String>>,
    metrics: Arc<WorkerMetrics>,
    done: Outcomes<Completion>,
    handed_back: Outcomes<Claim>,
    unfinished: Outcomes<UnfinishedAttempt>,
}

/// The uncommitted outcomes of one kind, each with the slots that it holds.
struct Outcomes<T> {
    waiting: Vec<(T, OwnedSemaphorePermit)>,
    /// The database rejects each of these: they are tried one by one, so that they hold up no other.
    rejected: Vec<(T, OwnedSemaphorePermit)>,
    rejection: Option<String>,
}

impl Finisher {
    pub(crate) fn new(store: Store, results: Results, metrics: Arc<WorkerMetrics>) -> Self {
        let (done, handed_back, unfinished) = (Outcomes::default(), Outcomes::default(), Outcomes::default());
        Self { store, results, rejection: watch::Sender::new(None), metrics, done, handed_back, unfinished }
    }

    /// Why the database rejects an outcome, for as long as it does. It makes the worker unready although the database
    /// answers.
    pub(crate) fn rejection(&self) -> watch::Receiver<Option<String>> {
        self.rejection.subscribe()
    }

    /// Runs until every sender of results is gone and every outcome is committed.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(FINISH_BATCH_MAX);
        let mut try_rejected_at = Instant::now();
        let mut more = true;
        loop {
            if self.has_waiting() {
                sleep(COMMIT_RETRY_AFTER.mul_f64(1.0 + fastrand::f64())).await;
                // If it is locked, the other finisher is waiting for more results.
                if let Ok(mut results) = self.results.try_lock() {
                    while let Ok(result) = results.try_recv() {
                        batch.push(result);
                    }
                }
            } else if more || self.has_rejected() {
                tokio::select! {
                    received = receive(&self.results, &mut batch), if more => more = received > 0,
                    () = sleep_until(try_rejected_at), if self.has_rejected() => {}
                }
            } else {
                return;
            }
            batch.drain(..).for_each(|result| self.add(result));
            let tries_rejected = self.has_rejected() && Instant::now() >= try_rejected_at;
            if tries_rejected {
                try_rejected_at = Instant::now() + REJECTED_RETRY_AFTER;
            }
            Box::pin(self.commit(tries_rejected)).await;
        }
    }

    fn has_waiting(&self) -> bool {
        !(self.done.waiting.is_empty() && self.handed_back.waiting.is_empty() && self.unfinished.waiting.is_empty())
    }

    fn has_rejected(&self) -> bool {
        !(self.done.rejected.is_empty() && self.handed_back.rejected.is_empty() && self.unfinished.rejected.is_empty())
    }

    fn add(&mut self, WorkResult { claim, end, slots }: WorkResult) {
        match end {
            WorkEnd::Done(result) => self.done.waiting.push((Completion { claim, result }, slots)),
            WorkEnd::HandedBack => self.handed_back.waiting.push((claim, slots)),
            WorkEnd::NotDone { error, duration, next_step } => {
                self.unfinished.waiting.push((UnfinishedAttempt { claim, error, duration, next_step }, slots));
            }
        }
    }

    /// Commits what the database accepts; the rest stays and is tried again.
    async fn commit(&mut self, rejected_too: bool) {
        let (store, metrics) = (&self.store, &self.metrics);
        self.done.commit(rejected_too, |completions| store.complete(completions), |it| metrics.completed(it)).await;
        self.handed_back.commit(rejected_too, |claims| store.release(claims), |it| metrics.released(it)).await;
        self.unfinished
            .commit(rejected_too, |attempts| store.end_attempts(attempts), |it| metrics.unfinished(it))
            .await;
        let rejections = [&self.done.rejection, &self.handed_back.rejection, &self.unfinished.rejection];
        self.rejection.send_replace(rejections.into_iter().flatten().next().cloned());
    }
}

/// Waits for results and takes them; returns 0 when no more will come.
async fn receive(results: &Results, batch: &mut Vec<WorkResult>) -> usize {
    results.lock().await.recv_many(batch, FINISH_BATCH_MAX).await
}

impl<T> Outcomes<T> {
    /// Commits all that wait. Halves each batch that the database rejects for good, until the bad outcome stands alone.
    /// The claim tokens make it safe to try again.
    async fn commit<Fut>(&mut self, rejected_too: bool, commit: impl Fn(Vec<T>) -> Fut, count: impl Fn(Settled))
    where
        Fut: Future<Output = Result<Settled, BatchError<T>>>,
    {
        let mut batches: Vec<Vec<_>> = Vec::new();
        if rejected_too {
            batches.extend(self.rejected.drain(..).map(|one| vec![one]));
        }
        while !self.waiting.is_empty() {
            let some = self.waiting.len().min(FINISH_BATCH_MAX);
            batches.push(self.waiting.drain(..some).collect());
        }
        while let Some(batch) = batches.pop() {
            let (items, slots): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            match commit(items).await {
                Ok(settled) => count(settled),
                Err(BatchError { error: None, left, settled }) => {
                    count(settled);
                    // The slots of all orders are alike; only a suspect holds more than one, and it comes alone.
                    self.waiting.extend(left.into_iter().zip(slots));
                }
                Err(BatchError { error: Some(error), left, .. }) => {
                    let outcomes = left.len();
                    tracing::warn!(error = &error as &dyn Error, outcomes, "could not commit outcomes; trying again");
                    let mut left: Vec<_> = left.into_iter().zip(slots).collect();
                    if error.is_passing() {
                        self.waiting.extend(left);
                    } else if outcomes > 1 {
                        batches.push(left.split_off(outcomes / 2));
                        batches.push(left);
                    } else {
                        let cause = error.source().map(ToString::to_string).unwrap_or_default();
                        self.rejection = Some(format!("{error}: {cause}"));
                        self.rejected.extend(left);
                    }
                }
            }
        }
        if self.rejected.is_empty() {
            self.rejection = None;
        }
    }
}

impl<T> Default for Outcomes<T> {
    fn default() -> Self {
        Self { waiting: Vec::new(), rejected: Vec::new(), rejection: None }
    }
}
