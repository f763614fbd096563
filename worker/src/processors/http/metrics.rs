//! The metrics of a worker that pushes orders.

use std::time::Duration;

use orders_shared::domain::{NotDone, Outcome};
use prometheus::{
    Histogram, IntCounter, Registry, histogram_opts, opts, register_histogram_with_registry,
    register_int_counter_vec_with_registry,
};

/// Bounds of the times of an answer, in seconds: from a service next door to the longest timeouts.
const SECONDS: [f64; 12] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

#[derive(Debug)]
pub(super) struct FulfilmentMetrics {
    seconds: Histogram,
    done: IntCounter,
    retry: IntCounter,
    unavailable: IntCounter,
    rejected: IntCounter,
    canceled: IntCounter,
}

impl FulfilmentMetrics {
    pub(super) fn register(r: &Registry) -> prometheus::Result<Self> {
        let seconds = histogram_opts!(
            "orders_fulfilment_seconds",
            "Time from sending an order to the service until its answer was read, or there was none.",
            SECONDS.to_vec()
        );
        let answers = opts!("orders_fulfilment_answers_total", "Orders pushed, by outcome.");
        let answers = register_int_counter_vec_with_registry!(answers, &["outcome"], r)?;
        let counter = |outcome| answers.get_metric_with_label_values(&[outcome]);
        Ok(Self {
            seconds: register_histogram_with_registry!(seconds, r)?,
            done: counter("done")?,
            retry: counter("retry")?,
            unavailable: counter("unavailable")?,
            rejected: counter("rejected")?,
            canceled: counter("canceled")?,
        })
    }

    /// An order was pushed, which took so long and ended so.
    pub(super) fn pushed(&self, time: Duration, outcome: &Outcome) {
        self.seconds.observe(time.as_secs_f64());
        let answers = match outcome {
            Ok(_) => &self.done,
            Err(NotDone::Retry { .. }) => &self.retry,
            Err(NotDone::Unavailable { .. }) => &self.unavailable,
            Err(NotDone::Rejected(_)) => &self.rejected,
            Err(NotDone::Canceled) => &self.canceled,
        };
        answers.inc();
    }
}
