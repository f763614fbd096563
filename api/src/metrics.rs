use std::time::Duration;

use orders_shared::domain::{OrderCounts, OrderStatus};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

/// What one API process counts.
#[derive(Debug)]
pub(crate) struct ApiMetrics {
    requests: HistogramVec,
    placed: IntCounter,
    batch: Histogram,
    orders: IntGaugeVec,
    database_up: IntGauge,
}

impl ApiMetrics {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            requests: HistogramVec::new(
                HistogramOpts::new("http_request_duration_seconds", "Time from a request's head to its answer's.")
                    .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]),
                &["method", "route", "status"],
            )?,
            placed: IntCounter::new("orders_placed_total", "Orders that this process placed.")?,
            batch: Histogram::with_opts(
                HistogramOpts::new("intake_batch_orders", "Orders that one commit placed.")
                    .buckets(vec![1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]),
            )?,
            orders: IntGaugeVec::new(Opts::new("orders", "Orders by status, over all processes."), &["status"])?,
            database_up: IntGauge::new("database_up", "Whether the database answered this scrape.")?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.placed.clone()))?;
        registry.register(Box::new(metrics.batch.clone()))?;
        registry.register(Box::new(metrics.orders.clone()))?;
        registry.register(Box::new(metrics.database_up.clone()))?;
        Ok(metrics)
    }

    /// A request was answered. `route` is the pattern, never the path, so that the number of series is bounded.
    pub(crate) fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        self.requests.with_label_values(&[method, route, &status.to_string()]).observe(took.as_secs_f64());
    }

    /// One commit placed this many orders.
    pub(crate) fn placed(&self, orders: usize) {
        self.placed.inc_by(orders as u64);
        self.batch.observe(f64::from(u32::try_from(orders).unwrap_or(u32::MAX)));
    }

    /// What the database says of the orders now; `None` when it is away.
    pub(crate) fn counts(&self, counts: Option<&OrderCounts>) {
        self.database_up.set(counts.is_some().into());
        // Figures of an earlier scrape would look like today's.
        self.orders.reset();
        for status in counts.map(|_| OrderStatus::ALL).into_iter().flatten() {
            let orders = counts.map_or(0, |counts| counts.of(status));
            self.orders.with_label_values(&[status.name()]).set(i64::try_from(orders).unwrap_or(i64::MAX));
        }
    }
}
