use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use orders_shared::domain::Claim;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Processor;
use crate::metrics::WorkerMetrics;

/// How the work on a claimed order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done.
    Done,
    /// It is not; the order goes back to the queue.
    GivenUp,
}

/// A claim whose work has ended, with the slot that it holds until its outcome is committed.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) claim: Claim,
    pub(crate) outcome: Outcome,
    pub(crate) slot: OwnedSemaphorePermit,
}

/// Where orders are worked on: a fixed number of slots, a task for each taken one.
pub(crate) struct Desk {
    processor: Arc<dyn Processor>,
    ended: mpsc::UnboundedSender<Ending>,
    slots: Arc<Semaphore>,
    concurrency: u32,
    working: JoinSet<()>,
    give_up: CancellationToken,
    metrics: Arc<WorkerMetrics>,
}

impl Desk {
    pub(crate) fn new(
        processor: Arc<dyn Processor>,
        ended: mpsc::UnboundedSender<Ending>,
        concurrency: u32,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        Self {
            processor,
            ended,
            slots: Arc::new(Semaphore::new(concurrency as usize)),
            concurrency,
            working: JoinSet::new(),
            give_up: CancellationToken::new(),
            metrics,
        }
    }

    /// Waits for a free slot and takes all that are free.
    pub(crate) async fn free_slots(&mut self) -> Vec<OwnedSemaphorePermit> {
        while self.working.try_join_next().is_some() {}
        let mut slots = Vec::new();
        if let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await {
            slots.push(slot);
        }
        while let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            slots.push(slot);
        }
        slots
    }

    /// Starts the work on a claimed order.
    pub(crate) fn start(&mut self, claim: Claim, slot: OwnedSemaphorePermit) {
        let (processor, ended) = (Arc::clone(&self.processor), self.ended.clone());
        let (give_up, metrics) = (self.give_up.clone(), Arc::clone(&self.metrics));
        self.metrics.busy.inc();
        self.working.spawn(async move {
            let outcome = tokio::select! {
                () = give_up.cancelled() => Outcome::GivenUp,
                outcome = work_on(&*processor, &claim) => outcome,
            };
            metrics.busy.dec();
            // Fails only once the finisher has given up, at the end of a shutdown: nobody is left to tell.
            let _ = ended.send(Ending { claim, outcome, slot });
        });
    }

    /// Waits until every outcome is committed.
    pub(crate) async fn drained(&self) {
        let _ = self.slots.acquire_many(self.concurrency).await;
    }

    /// Ends the work on every order that is still under way.
    pub(crate) fn give_up(&self) {
        self.give_up.cancel();
    }
}

async fn work_on(processor: &dyn Processor, claim: &Claim) -> Outcome {
    let order_id = claim.order_id();
    match AssertUnwindSafe(processor.process(claim.order())).catch_unwind().await {
        Ok(Ok(())) => Outcome::Done,
        Ok(Err(error)) => {
            tracing::warn!(%order_id, %error, "could not process an order; it goes back to the queue");
            Outcome::GivenUp
        }
        Err(_) => {
            tracing::error!(%order_id, "processing an order panicked; it goes back to the queue");
            Outcome::GivenUp
        }
    }
}
