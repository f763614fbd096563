//! The metrics of one worker process.

use orders_shared::domain::BreakerState;
use orders_shared::store::Settled;
use prometheus::{
    Histogram, IntCounter, IntGauge, Registry, histogram_opts, register_histogram_with_registry,
    register_int_counter_vec_with_registry as counters, register_int_counter_with_registry as counter,
    register_int_gauge_vec_with_registry as gauges, register_int_gauge_with_registry as gauge,
};

use crate::breaker::Cause;

#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    claimed: IntCounter,
    completed: IntCounter,
    released: IntCounter,
    retried: IntCounter,
    failed: IntCounter,
    unavailable: IntCounter,
    canceled: IntCounter,
    rescued: IntCounter,
    poisonous: IntCounter,
    stale: IntCounter,
    claim_batch_size: Histogram,
    pub(crate) wakeups: IntCounter,
    pub(crate) deaths: IntCounter,
    pub(crate) slots_busy: IntGauge,
}

impl WorkerMetrics {
    pub(crate) fn register(r: &Registry, concurrency: u32) -> prometheus::Result<Self> {
        gauge!("orders_worker_slots", "Orders that this worker can process at once.", r)?.set(concurrency.into());
        let batch = histogram_opts!(
            "orders_claim_batch_size",
            "Orders taken by one claim.",
            vec![1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]
        );
        Ok(Self {
            claimed: counter!("orders_claimed_total", "Orders claimed by this worker.", r)?,
            completed: counter!("orders_completed_total", "Orders completed by this worker.", r)?,
            released: counter!("orders_released_total", "Orders that this worker handed back to the queue.", r)?,
            retried: counter!("orders_retried_total", "Failed attempts of this worker that will be retried.", r)?,
            failed: counter!("orders_failed_total", "Orders that became FAILED after an attempt by this worker.", r)?,
            unavailable: counter!(
                "orders_unavailable_total",
                "Attempts of this worker that found what they depend on away, and were not used up.",
                r
            )?,
            canceled: counter!("orders_canceled_total", "Orders that this worker canceled.", r)?,
            rescued: counter!("orders_rescued_total", "Orders that this worker took back from dead workers.", r)?,
            poisonous: counter!(
                "orders_poisonous_total",
                "Orders that this worker set to FAILED because they had been rescued too often.",
                r
            )?,
            stale: counter!(
                "orders_stale_outcomes_total",
                "Outcomes rejected because the worker had lost its claim.",
                r
            )?,
            claim_batch_size: register_histogram_with_registry!(batch, r)?,
            wakeups: counter!("orders_worker_wakeups_total", "Wake-ups that made this worker claim at once.", r)?,
            deaths: counter!("orders_worker_deaths_total", "Times that other workers declared this one dead.", r)?,
            slots_busy: gauge!("orders_worker_slots_busy", "Slots in which an order is being processed.", r)?,
        })
    }

    pub(crate) fn claimed(&self, orders: usize) {
        self.claimed.inc_by(orders as u64);
        self.claim_batch_size.observe(f64::from(u32::try_from(orders).unwrap_or(u32::MAX)));
    }

    pub(crate) fn completed(&self, settled: Settled) {
        self.completed.inc_by(settled.completed);
        self.stale.inc_by(settled.stale);
    }

    pub(crate) fn released(&self, settled: Settled) {
        self.released.inc_by(settled.pending);
        self.stale.inc_by(settled.stale);
    }

    pub(crate) fn unfinished(&self, settled: Settled) {
        self.retried.inc_by(settled.pending - settled.waiting);
        self.unavailable.inc_by(settled.waiting);
        self.canceled.inc_by(settled.canceled);
        self.failed.inc_by(settled.failed);
        self.stale.inc_by(settled.stale);
    }

    pub(crate) fn rescued(&self, settled: Settled) {
        self.rescued.inc_by(settled.pending);
        self.poisonous.inc_by(settled.failed);
    }
}

/// What a worker that pushes orders thinks of its service.
#[derive(Debug)]
pub(crate) struct GateMetrics {
    states: Vec<(BreakerState, IntGauge)>,
    opened: Vec<(Cause, IntCounter)>,
}

impl GateMetrics {
    pub(crate) fn register(r: &Registry) -> prometheus::Result<Self> {
        let states = gauges!(
            "orders_fulfilment_breaker_state",
            "1 for the state that the breaker is in. While it is not closed, orders wait for the service.",
            &["state"],
            r
        )?;
        let opened = counters!(
            "orders_fulfilment_breaker_opened_total",
            "Times that the breaker opened because the service was failing, or rejecting most orders.",
            &["reason"],
            r
        )?;
        let state = |state: BreakerState| Ok((state, states.get_metric_with_label_values(&[state.name()])?));
        let cause = |cause: Cause| Ok((cause, opened.get_metric_with_label_values(&[cause.name()])?));
        let metrics = Self {
            states: BreakerState::ALL.into_iter().map(state).collect::<prometheus::Result<_>>()?,
            opened: Cause::ALL.into_iter().map(cause).collect::<prometheus::Result<_>>()?,
        };
        metrics.is_in(BreakerState::Closed);
        Ok(metrics)
    }

    /// The breaker is in this state now.
    pub(crate) fn is_in(&self, now: BreakerState) {
        for (state, gauge) in &self.states {
            gauge.set(i64::from(*state == now));
        }
    }

    pub(crate) fn opened(&self, by: Cause) {
        for (_, counter) in self.opened.iter().filter(|(cause, _)| *cause == by) {
            counter.inc();
        }
    }
}
