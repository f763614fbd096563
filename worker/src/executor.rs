//! Works on claimed orders, in a fixed number of slots and with one task for each order, or for each batch where the
//! processor takes several at once.
//!
//! `Invariant:` however an order's task ends, the order has an outcome, and its slots become free once that is
//! committed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use orders_shared::domain::{
    Claim, ErrorClass, NextStep, NotDone, OneOrMore, OrderResult, Outcome, RetryPolicy, WorkError,
};
use orders_shared::tasks::panic_message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cli::WorkerSettings;
use crate::metrics::WorkerMetrics;
use crate::processors::{Attempt, Processor};

/// The error of an order that a batch has no outcome for.
const TOO_FEW_OUTCOMES: &str = "process_many returned fewer outcomes than it was given attempts";

/// A claim, with the slots that it holds until its outcome is committed.
pub(crate) type ClaimedOrder = (Claim, OwnedSemaphorePermit);

/// A claim whose work has ended, with the slots that it holds until its outcome is committed.
#[derive(Debug)]
pub(crate) struct WorkResult {
    pub(crate) claim: Claim,
    pub(crate) end: WorkEnd,
    pub(crate) slots: OwnedSemaphorePermit,
}

/// How the work on a claimed order ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WorkEnd {
    Done(Option<OrderResult>),
    /// It was not begun or not finished, through no fault of the order.
    HandedBack,
    NotDone {
        error: Option<WorkError>,
        duration: Duration,
        next_step: NextStep,
    },
}

pub(crate) struct Executor {
    processor: Arc<dyn Processor>,
    results: mpsc::UnboundedSender<WorkResult>,
    slots: Arc<Semaphore>,
    concurrency: u32,
    timeout: Duration,
    retries: Arc<RetryPolicy>,
    working: JoinSet<()>,
    give_up: CancellationToken,
    metrics: Arc<WorkerMetrics>,
}

impl Executor {
    pub(crate) fn new(
        processor: Arc<dyn Processor>,
        results: mpsc::UnboundedSender<WorkResult>,
        settings: &WorkerSettings,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        let WorkerSettings { concurrency, timeout, retries, .. } = settings;
        Self {
            processor,
            results,
            slots: Arc::new(Semaphore::new(*concurrency as usize)),
            concurrency: *concurrency,
            timeout: *timeout,
            retries: Arc::new(retries.clone()),
            working: JoinSet::new(),
            give_up: CancellationToken::new(),
            metrics,
        }
    }

    /// All slots of this worker.
    pub(crate) fn slots(&self) -> usize {
        self.concurrency as usize
    }

    pub(crate) fn free_slots(&self) -> usize {
        self.slots.available_permits()
    }

    /// Waits until this many slots are free at once.
    pub(crate) async fn wait_for_slots(&self, count: usize) {
        let _ = self.slots.acquire_many(u32::try_from(count).unwrap_or(u32::MAX)).await;
    }

    /// Takes this many of the free slots; `None` if there are fewer.
    pub(crate) fn take_slots(&mut self, count: usize) -> Option<OwnedSemaphorePermit> {
        // The handles of tasks that have ended would pile up.
        while self.working.try_join_next().is_some() {}
        Arc::clone(&self.slots).try_acquire_many_owned(u32::try_from(count).ok()?).ok()
    }

    /// Starts the work on claimed orders, each of which holds its slots until its outcome is committed: in batches where
    /// the processor takes them.
    pub(crate) fn start(&mut self, mut claimed: Vec<ClaimedOrder>) {
        let batch_max = self.processor.batch_max();
        if batch_max <= 1 {
            for one in claimed {
                self.start_batch(OneOrMore::one(one));
            }
            return;
        }
        while let Some(batch) = OneOrMore::of(claimed.drain(..claimed.len().min(batch_max)).collect()) {
            self.start_batch(batch);
        }
    }

    fn start_batch(&mut self, claimed: OneOrMore<ClaimedOrder>) {
        let (processor, give_up, timeout) = (Arc::clone(&self.processor), self.give_up.clone(), self.timeout);
        let stop = CancellationToken::new();
        self.metrics.slots_busy.add(claimed.count().try_into().unwrap_or(i64::MAX));
        let mut running = Running {
            claimed: Some(claimed),
            results: self.results.clone(),
            retries: Arc::clone(&self.retries),
            started: Instant::now(),
            metrics: Arc::clone(&self.metrics),
            _stop: stop.clone().drop_guard(),
        };
        self.working.spawn(async move {
            let Some(claimed) = &running.claimed else { return };
            let outcomes = tokio::select! {
                biased;
                () = give_up.cancelled() => None,
                outcomes = work_on(&*processor, claimed, &stop, timeout) => Some(outcomes),
            };
            running.end(outcomes);
        });
    }

    /// Hands back a claimed order that was not begun.
    pub(crate) fn hand_back(&self, claim: Claim, slots: OwnedSemaphorePermit) {
        let _ = self.results.send(WorkResult { claim, end: WorkEnd::HandedBack, slots });
    }

    /// Waits until every outcome is committed.
    pub(crate) async fn drained(&self) {
        let _ = self.slots.acquire_many(self.concurrency).await;
    }

    /// Stops the work on every order that is under way now, and hands the orders back.
    pub(crate) fn give_up(&mut self) {
        std::mem::take(&mut self.give_up).cancel();
    }
}

/// The work on claimed orders, from its start to its outcomes.
struct Running {
    /// `None` once they have their outcomes.
    claimed: Option<OneOrMore<ClaimedOrder>>,
    results: mpsc::UnboundedSender<WorkResult>,
    retries: Arc<RetryPolicy>,
    started: Instant,
    metrics: Arc<WorkerMetrics>,
    /// Tells threads of the work that nobody waits for them any more.
    _stop: DropGuard,
}

impl Running {
    /// Gives every order its outcome, in their order; without outcomes, hands them back.
    fn end(&mut self, outcomes: Option<OneOrMore<Outcome>>) {
        let Some(claimed) = self.claimed.take() else { return };
        let duration = self.started.elapsed();
        let is_handed_back = outcomes.is_none();
        let mut outcomes = outcomes.into_iter().flatten();
        for (claim, slots) in claimed {
            let end = match outcomes.next() {
                _ if is_handed_back => WorkEnd::HandedBack,
                Some(Ok(done)) => WorkEnd::Done(done.result),
                Some(Err(not_done)) => ended(&claim, not_done, duration, &self.retries),
                None => ended(&claim, NotDone::retry(TOO_FEW_OUTCOMES), duration, &self.retries),
            };
            self.metrics.slots_busy.dec();
            // This fails only after the finishers have given up, at the end of a shutdown.
            let _ = self.results.send(WorkResult { claim, end, slots });
        }
    }
}

impl Drop for Running {
    /// The task died: of a panic outside the work itself, such as in its future's destructor, or because the executor
    /// is dropped.
    fn drop(&mut self) {
        let Some(claimed) = &self.claimed else { return };
        let died = || Err(panicked("the task of this attempt died"));
        let outcomes = std::thread::panicking().then(|| claimed.each(|_| died()));
        self.end(outcomes);
    }
}

/// Makes an attempt at each of these orders, and returns the outcomes in their order.
async fn work_on(
    processor: &dyn Processor,
    claimed: &OneOrMore<ClaimedOrder>,
    stop: &CancellationToken,
    timeout: Duration,
) -> OneOrMore<Outcome> {
    // A processor may also panic before it returns a future.
    let work = AssertUnwindSafe(async {
        if processor.batch_max() <= 1 {
            let (claim, _) = claimed.first();
            return OneOrMore::one(processor.process(attempt(claim, stop)).await);
        }
        let attempts: Vec<_> = claimed.iter().map(|(claim, _)| attempt(claim, stop)).collect();
        let outcomes = OneOrMore::of(processor.process_many(&attempts).await);
        outcomes.unwrap_or_else(|| OneOrMore::one(Err(NotDone::retry(TOO_FEW_OUTCOMES))))
    });
    let failed = match tokio::time::timeout(timeout, work.catch_unwind()).await {
        Ok(Ok(outcomes)) => return outcomes,
        Ok(Err(panic)) => panicked(&format!("panic: {}", panic_message(panic.as_ref()))),
        Err(_) => {
            let message = format!("timed out after {} ms", timeout.as_millis());
            NotDone::retry(WorkError::new(ErrorClass::TIMEOUT, message))
        }
    };
    claimed.each(|_| Err(failed.clone()))
}

fn attempt<'a>(claim: &'a Claim, stop: &'a CancellationToken) -> Attempt<'a> {
    let order = claim.order();
    Attempt { order, number: order.attempt, stop }
}

fn panicked(message: &str) -> NotDone {
    NotDone::retry(WorkError::new(ErrorClass::PANIC, message))
}

fn ended(claim: &Claim, not_done: NotDone, duration: Duration, retries: &RetryPolicy) -> WorkEnd {
    let order = claim.order();
    let next_step = retries.after(order.attempt, &not_done, fastrand::f64());
    let error = match not_done {
        NotDone::Retry { error, .. } | NotDone::Unavailable { error, .. } | NotDone::Rejected(error) => Some(error),
        NotDone::Canceled => None,
    };
    if let Some(WorkError { class, message, .. }) = &error {
        let (order_id, attempt, class) = (order.order_id, order.attempt, class.name());
        tracing::warn!(%order_id, attempt, class, error = message, ?next_step, "an attempt failed");
    }
    WorkEnd::NotDone { error, duration, next_step }
}
