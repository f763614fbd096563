//! The HTTP API: takes orders in, shows them, reports on them.

mod app;
pub mod cli;
mod doctor;
mod edge;
mod intake;
mod memory;
mod metrics;
mod orders;
mod problems;
mod queue;
mod reports;
mod router;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use orders_shared::http::{CONNECTIONS_MAX, Capacity, Drain, Listener, Readiness};
use orders_shared::store::{Store, StoreSettings};
use orders_shared::tasks::{TaskError, Tasks};
use orders_shared::version::Version;
use prometheus::Registry;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
pub use crate::doctor::doctor;
pub use crate::edge::Hosts;
use crate::intake::Intake;
use crate::intake::wakeup::Wakeup;
pub use crate::memory::MemoryBudget;
use crate::metrics::ApiMetrics;
use crate::orders::wait::OrderWaiters;

/// What the committed OpenAPI document is made of, for the test that compares the two (`api/tests/openapi`): what poem-openapi
/// reads off the operations, every kind of problem, and answers as they travel. Nothing else should need it.
pub mod document {
    pub use crate::orders::cursor::encode as cursor;
    pub use crate::orders::story::{Explanation, OrderEvent, Story};
    pub use crate::orders::view::{BatchCreated, FullOrder, ListedOrder, OrderCreated, OrderPage};
    pub use crate::problems::{Facts, Kind, PROBLEM_JSON, Problem};
    pub use crate::queue::view::{PauseState, QueueState};
    pub use crate::reports::view::Report;
    pub use crate::router::draft;
}

/// How long orders whose clients were cut off may still take to be written, once the grace period is over.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// How long requests under way may take once a vital task has failed: the window in which connections are still taken, and
/// two seconds for the last answers. Shorter would cut off who could be answered, longer would keep back a process that a
/// supervisor should start again.
const FAILED_GRACE: Duration = Duration::from_secs(7);

/// How one API process works.
#[derive(Debug)]
pub struct ApiSettings {
    /// Names by which requests may ask for it.
    pub hosts: Hosts,
    /// What it plans its memory with.
    pub budget: MemoryBudget,
    /// Time that requests under way have to finish at shutdown.
    pub grace: Duration,
    /// Which build of the program this is.
    pub version: Version,
}

/// Serves the API until `stop`. Its figures are added to `registry`.
///
/// # Errors
///
/// When the process may have too few descriptors, the metrics cannot be registered, or a vital task fails; then too requests
/// under way are answered, for a short time.
pub async fn serve(
    database: StoreSettings,
    listener: Listener,
    registry: Registry,
    settings: ApiSettings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let ApiSettings { hosts, budget, grace, version } = settings;
    let capacity = Capacity::of_process(budget.connections_max().min(CONNECTIONS_MAX), database.connections_max())?;
    let (stop, budget) = (stop.child_token(), Arc::new(budget));
    let store = Store::new(database.with_work_connections(intake::WRITERS));
    let metrics = Arc::new(ApiMetrics::register(&registry)?);
    let (mut writers, mut chores) = (Tasks::new(), Tasks::new());
    let (wakeup, sender) = Wakeup::new();
    let intake = Intake::start(&store, &budget.intake, &wakeup, &metrics, &mut writers);
    let order_waiters = OrderWaiters::new(capacity.connections(), stop.clone());
    let watching = store.for_watching();
    let (counts, counting) = reports::counts::counts(watching.clone());
    let (queue, queue_reading) = reports::counts::queue(watching.clone());
    let (readiness, readiness_reader) = Readiness::new(stop.clone());
    chores.spawn("counts", counting);
    chores.spawn("queue reports", queue_reading);
    chores.spawn("readiness", readiness_reader.run(watching.clone()));
    chores.spawn("wakeup", sender.run(watching.clone(), Arc::clone(&metrics)));
    chores.spawn("wait for orders", order_waiters.clone().watch(watching));
    let detached = TaskTracker::new();
    let app = App {
        store: store.for_callers(),
        intake,
        wakeup,
        waiters: order_waiters,
        counts,
        queue,
        readiness,
        registry,
        metrics,
        budget,
        version,
        detached: detached.clone(),
    };
    let endpoint = router::endpoint(app, hosts);

    let drain = Drain::after_a_window(stop.clone(), grace);
    let mut serving = Box::pin(orders_shared::http::serve(listener, endpoint, drain, capacity));
    let mut ended = tokio::select! {
        () = &mut serving => Ok(()),
        Err(failed) = writers.watch(&stop) => Err(failed),
        Err(failed) = chores.watch(&stop) => Err(failed),
    };
    if let Err(failed) = &ended {
        log_failed(failed);
        stop.cancel();
        let _ = timeout(FAILED_GRACE, &mut serving).await;
    }
    drop(serving);
    // The last endpoint is gone and with it the last sender: the writers end once the queue is empty.
    if let Ok(Err(failed)) = timeout(LAST_WRITES, writers.watch(&stop)).await {
        log_failed(&failed);
        ended = ended.and(Err(failed));
    }
    // A change that was begun is made, though its client left.
    detached.close();
    let _ = timeout(LAST_WRITES, detached.wait()).await;
    drop(chores);
    store.close().await;
    Ok(ended?)
}

fn log_failed(failed: &TaskError) {
    tracing::error!(error = failed as &dyn std::error::Error, "a vital task failed: this process ends");
}
