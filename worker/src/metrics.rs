use orders_shared::store::{Finished, Rescued, Settled};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// What one worker process counts.
#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    claimed: IntCounter,
    completed: IntCounter,
    released: IntCounter,
    retried: IntCounter,
    failed: IntCounter,
    rescued: IntCounter,
    poisonous: IntCounter,
    stale: IntCounter,
    batch: Histogram,
    /// Rings that made this worker look.
    pub(crate) rings: IntCounter,
    /// Times that others declared this worker dead.
    pub(crate) deaths: IntCounter,
    /// Slots in which an order is being worked on.
    pub(crate) busy: IntGauge,
}

impl WorkerMetrics {
    pub(crate) fn register(registry: &Registry, concurrency: u32) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let batch = Histogram::with_opts(
            HistogramOpts::new("orders_claim_batch_size", "Orders a claim took.")
                .buckets(vec![1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]),
        )?;
        registry.register(Box::new(batch.clone()))?;
        gauge("orders_worker_slots", "Orders that this worker can work on at once.")?.set(concurrency.into());
        Ok(Self {
            claimed: counter("orders_claimed_total", "Orders that this worker claimed.")?,
            completed: counter("orders_completed_total", "Orders that this worker completed.")?,
            released: counter("orders_released_total", "Orders that this worker handed back to the queue.")?,
            retried: counter(
                "orders_retried_total",
                "Attempts of this worker that failed and are followed by another.",
            )?,
            failed: counter("orders_failed_total", "Orders that are FAILED since an attempt of this worker.")?,
            rescued: counter("orders_rescued_total", "Orders that this worker took back from dead workers.")?,
            poisonous: counter(
                "orders_poisonous_total",
                "Orders that this worker made FAILED after their third rescue.",
            )?,
            stale: counter("orders_stale_outcomes_total", "Outcomes refused because the claim was lost.")?,
            batch,
            rings: counter("orders_worker_wakeups_total", "Rings of the API that made this worker look for orders.")?,
            deaths: counter("orders_worker_deaths_total", "Times that others declared this worker dead.")?,
            busy: gauge("orders_worker_slots_busy", "Slots in which an order is being worked on.")?,
        })
    }

    pub(crate) fn claimed(&self, orders: usize) {
        self.claimed.inc_by(orders as u64);
        self.batch.observe(f64::from(u32::try_from(orders).unwrap_or(u32::MAX)));
    }

    pub(crate) fn completed(&self, finished: Finished) {
        self.completed.inc_by(finished.changed);
        self.stale.inc_by(finished.stale);
    }

    pub(crate) fn released(&self, finished: Finished) {
        self.released.inc_by(finished.changed);
        self.stale.inc_by(finished.stale);
    }

    pub(crate) fn settled(&self, settled: Settled) {
        self.retried.inc_by(settled.retried);
        self.failed.inc_by(settled.failed);
        self.stale.inc_by(settled.stale);
    }

    pub(crate) fn rescued(&self, rescued: Rescued) {
        self.rescued.inc_by(rescued.rescued);
        self.poisonous.inc_by(rescued.poisonous);
    }
}
