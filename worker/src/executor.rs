//! Works on claimed orders, in a fixed number of slots and with one task for each order.
//!
//! `Invariant:` however an order's task ends, the order has an outcome, and its slots become free once that is
//! committed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use orders_shared::domain::{Claim, NextStep, RetryPolicy};
use orders_shared::tasks::panic_message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::WorkerSettings;
use crate::metrics::WorkerMetrics;
use crate::processors::{ProcessingError, Processor};

/// How the work on a claimed order ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// It was not begun or not finished, through no fault of the order.
    HandedBack,
    Failed {
        error: String,
        duration: Duration,
        next_step: NextStep,
    },
}

/// A claim whose work has ended, with the slots that it holds until its outcome is committed.
#[derive(Debug)]
pub(crate) struct WorkResult {
    pub(crate) claim: Claim,
    pub(crate) outcome: Outcome,
    pub(crate) slots: OwnedSemaphorePermit,
}

pub(crate) struct Executor {
    processor: Arc<dyn Processor>,
    results: mpsc::UnboundedSender<WorkResult>,
    slots: Arc<Semaphore>,
    settings: WorkerSettings,
    working: JoinSet<()>,
    give_up: CancellationToken,
    metrics: Arc<WorkerMetrics>,
}

impl Executor {
    pub(crate) fn new(
        processor: Arc<dyn Processor>,
        results: mpsc::UnboundedSender<WorkResult>,
        settings: WorkerSettings,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(settings.concurrency as usize));
        let (working, give_up) = (JoinSet::new(), CancellationToken::new());
        Self { processor, results, slots, settings, working, give_up, metrics }
    }

    /// All slots of this worker.
    pub(crate) fn slots(&self) -> usize {
        self.settings.concurrency as usize
    }

    pub(crate) fn free_slots(&self) -> usize {
        self.slots.available_permits()
    }

    /// Waits until a slot is free.
    pub(crate) async fn wait_for_slot(&self) {
        let _ = self.slots.acquire().await;
    }

    /// Takes this many of the free slots; `None` if there are fewer.
    pub(crate) fn take_slots(&mut self, count: usize) -> Option<OwnedSemaphorePermit> {
        // The handles of tasks that have ended would pile up.
        while self.working.try_join_next().is_some() {}
        Arc::clone(&self.slots).try_acquire_many_owned(u32::try_from(count).ok()?).ok()
    }

    /// Starts the work on a claimed order, which holds these slots until its outcome is committed.
    pub(crate) fn start(&mut self, claim: Claim, slots: OwnedSemaphorePermit) {
        let (processor, give_up, settings) = (Arc::clone(&self.processor), self.give_up.clone(), self.settings);
        let mut attempt = Attempt {
            claimed: Some((claim, slots)),
            results: self.results.clone(),
            retries: settings.retries,
            started: Instant::now(),
            metrics: Arc::clone(&self.metrics),
        };
        self.metrics.slots_busy.inc();
        self.working.spawn(async move {
            let Some((claim, _)) = &attempt.claimed else { return };
            let outcome = tokio::select! {
                biased;
                () = give_up.cancelled() => Outcome::HandedBack,
                outcome = work_on(&*processor, claim, settings) => outcome,
            };
            attempt.end(outcome);
        });
    }

    /// Hands back a claimed order that was not begun.
    pub(crate) fn hand_back(&self, claim: Claim, slots: OwnedSemaphorePermit) {
        let _ = self.results.send(WorkResult { claim, outcome: Outcome::HandedBack, slots });
    }

    /// Waits until every outcome is committed.
    pub(crate) async fn drained(&self) {
        let _ = self.slots.acquire_many(self.settings.concurrency).await;
    }

    /// Stops the work on every order that is under way now, and hands the orders back.
    pub(crate) fn give_up(&mut self) {
        std::mem::take(&mut self.give_up).cancel();
    }
}

/// The work on one claimed order, from its start to its outcome.
struct Attempt {
    claimed: Option<(Claim, OwnedSemaphorePermit)>,
    results: mpsc::UnboundedSender<WorkResult>,
    retries: RetryPolicy,
    started: Instant,
    metrics: Arc<WorkerMetrics>,
}

impl Attempt {
    fn end(&mut self, outcome: Outcome) {
        let Some((claim, slots)) = self.claimed.take() else { return };
        self.metrics.slots_busy.dec();
        // This fails only after the finishers have given up, at the end of a shutdown.
        let _ = self.results.send(WorkResult { claim, outcome, slots });
    }
}

impl Drop for Attempt {
    /// The task died: of a panic outside the work itself, such as in its future's destructor, or because the executor
    /// is dropped.
    fn drop(&mut self) {
        let Some((claim, _)) = &self.claimed else { return };
        let outcome = if std::thread::panicking() {
            let error = ProcessingError::Retryable("the task of this attempt died".to_owned());
            failed(claim, &error, self.started.elapsed(), self.retries)
        } else {
            Outcome::HandedBack
        };
        self.end(outcome);
    }
}

async fn work_on(processor: &dyn Processor, claim: &Claim, settings: WorkerSettings) -> Outcome {
    let started = Instant::now();
    // A processor may also panic before it returns a future.
    let work = AssertUnwindSafe(async { processor.process(claim.order()).await }).catch_unwind();
    let error = match tokio::time::timeout(settings.timeout, work).await {
        Ok(Ok(Ok(()))) => return Outcome::Done,
        Ok(Ok(Err(error))) => error,
        Ok(Err(panic)) => ProcessingError::Retryable(format!("panic: {}", panic_message(panic.as_ref()))),
        Err(_) => ProcessingError::Retryable(format!("timed out after {} ms", settings.timeout.as_millis())),
    };
    failed(claim, &error, started.elapsed(), settings.retries)
}

fn failed(claim: &Claim, error: &ProcessingError, duration: Duration, retries: RetryPolicy) -> Outcome {
    let order = claim.order();
    let next_step = match error {
        ProcessingError::Retryable(_) => retries.after(order.attempt, fastrand::f64()),
        ProcessingError::Permanent(_) => NextStep::Fail,
    };
    tracing::warn!(order_id = %order.order_id, attempt = order.attempt, %error, ?next_step, "an attempt failed");
    Outcome::Failed { error: error.to_string(), duration, next_step }
}
