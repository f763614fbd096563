use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use orders_shared::domain::OrderStatus;
use poem::http::StatusCode;
use prometheus::core::Collector;
use prometheus::{GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use crate::reports::counts::QueueReport;

/// Makes a gauge that can be absent from a scrape, as a plain gauge cannot.
const NO_LABEL: &[&str] = &[];

/// The metrics of one API process.
#[derive(Debug)]
pub(crate) struct ApiMetrics {
    requests: HistogramVec,
    placed: IntCounter,
    batch: Histogram,
    workers_with_wakeup: IntGauge,
    orders: IntGaugeVec,
    oldest_due: GaugeVec,
    queue_paused: IntGaugeVec,
    workers_live: IntGaugeVec,
    database_up: IntGauge,
    database_writable: IntGaugeVec,
    database_clock_behind: GaugeVec,
    /// Held while the queue's figures are set and written out, so that no scrape sees another's half-set figures.
    scraping: Mutex<()>,
}

impl ApiMetrics {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let requests = HistogramOpts::new(
            "orders_http_request_duration_seconds",
            "Seconds from a request's head to the head of its answer.",
        )
        .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]);
        let batch = HistogramOpts::new("orders_intake_batch_size", "Orders placed by one commit.")
            .buckets(vec![1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]);
        let count = |name, help, labels: &[&str]| added(registry, IntGaugeVec::new(Opts::new(name, help), labels)?);
        let seconds = |name, help| added(registry, GaugeVec::new(Opts::new(name, help), NO_LABEL)?);
        Ok(Self {
            requests: added(registry, HistogramVec::new(requests, &["method", "route", "status"])?)?,
            placed: added(registry, IntCounter::new("orders_placed_total", "Orders placed by this process.")?)?,
            batch: added(registry, Histogram::with_opts(batch)?)?,
            workers_with_wakeup: added(
                registry,
                IntGauge::new("orders_workers_with_wakeup", "Live workers that this process can wake up.")?,
            )?,
            orders: count("orders_by_status", "Orders by status, as counted in the database.", &["status"])?,
            oldest_due: seconds("orders_oldest_due_seconds", "Seconds since the oldest due order became due.")?,
            queue_paused: count(
                "orders_queue_paused",
                "1 if the queue is paused, so that no order is claimed.",
                NO_LABEL,
            )?,
            workers_live: count("orders_workers_live", "Live workers.", NO_LABEL)?,
            database_up: added(
                registry,
                IntGauge::new("orders_database_up", "1 if the database answered this scrape.")?,
            )?,
            database_writable: count(
                "orders_database_writable",
                "1 if the database takes writes, 0 if it is read-only, locked or full.",
                NO_LABEL,
            )?,
            database_clock_behind: seconds(
                "orders_database_clock_behind_seconds",
                "Seconds by which the database's clock is behind the newest order: above 0 after the clock went back.",
            )?,
            scraping: Mutex::default(),
        })
    }

    /// Records an answered request. `route` is the pattern and never the path, so that the number of series is bounded.
    pub(crate) fn request(&self, method: &str, route: &str, status: StatusCode, took: Duration) {
        self.requests.with_label_values(&[method, route, status.as_str()]).observe(took.as_secs_f64());
    }

    /// Records a commit that placed this many orders.
    pub(crate) fn placed(&self, orders: usize) {
        self.placed.inc_by(orders as u64);
        self.batch.observe(f64::from(u32::try_from(orders).unwrap_or(u32::MAX)));
    }

    /// Records how many workers can be woken up.
    pub(crate) fn workers_with_wakeup(&self, workers: usize) {
        self.workers_with_wakeup.set(gauge(workers as u64));
    }

    /// All figures as text; `report` is `None` while the database is away.
    pub(crate) fn text(&self, registry: &Registry, report: Option<&QueueReport>) -> prometheus::Result<String> {
        let _one_at_a_time = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        self.queue(report);
        orders_shared::metrics::text(registry)
    }

    fn queue(&self, report: Option<&QueueReport>) {
        self.database_up.set(report.is_some().into());
        // Old figures would look like current ones.
        self.orders.reset();
        for figure in [&self.queue_paused, &self.workers_live, &self.database_writable] {
            figure.reset();
        }
        for figure in [&self.oldest_due, &self.database_clock_behind] {
            figure.reset();
        }
        let Some(QueueReport { queue, is_writable }) = report else { return };
        self.database_writable.with_label_values(NO_LABEL).set((*is_writable).into());
        self.database_clock_behind.with_label_values(NO_LABEL).set(queue.clock_behind.as_secs_f64());
        for status in OrderStatus::ALL {
            self.orders.with_label_values(&[status.name()]).set(gauge(queue.counts.of(status)));
        }
        self.queue_paused.with_label_values(NO_LABEL).set(queue.paused_at.is_some().into());
        self.workers_live.with_label_values(NO_LABEL).set(gauge(queue.workers.len() as u64));
        let late = queue.oldest_due.map_or(Duration::ZERO, |(.., late)| late);
        self.oldest_due.with_label_values(NO_LABEL).set(late.as_secs_f64());
    }
}

/// Registers the metric.
fn added<C: Collector + Clone + 'static>(registry: &Registry, figure: C) -> prometheus::Result<C> {
    registry.register(Box::new(figure.clone()))?;
    Ok(figure)
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
