//! The HTTP API: takes orders in, shows them and reports on them.

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

/// The sources of the committed OpenAPI document, for the test that compares the two (`api/tests/openapi`): what
/// poem-openapi derives from the operations, every kind of problem, and the answers as they travel. Nothing else should
/// need it.
pub mod document {
    pub use crate::orders::cursor::encode as cursor;
    pub use crate::orders::story::{Explanation, OrderEvent, Story};
    pub use crate::orders::view::{BatchCreated, FullOrder, ListedOrder, OrderCreated, OrderPage};
    pub use crate::problems::{Facts, Kind, PROBLEM_JSON, Problem};
    pub use crate::queue::view::{PauseState, QueueState};
    pub use crate::reports::view::Report;
    pub use crate::router::draft;
}

/// How long after the grace period orders may still be written whose clients were cut off.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// How long requests may take to finish once a vital task has failed: the window in which connections are still
/// accepted, and two seconds for the last answers. Shorter would cut off clients that could be answered; longer would
/// delay the restart by a supervisor.
const FAILED_GRACE: Duration = Duration::from_secs(7);

/// How one API process works.
#[derive(Debug)]
pub struct ApiSettings {
    /// The names under which it may be asked.
    pub hosts: Hosts,
    /// The memory that it may use.
    pub budget: MemoryBudget,
    /// Time that requests under way have to finish at shutdown.
    pub grace: Duration,
    /// The build of the program.
    pub version: Version,
}

/// Serves the API until `stop`. Adds its metrics to `registry`.
///
/// # Errors
///
/// If the process may open too few files, if the metrics cannot be registered, or if a vital task fails. Even then
/// requests under way have a short time to finish.
pub async fn serve(
    database: StoreSettings,
    listener: Listener,
    registry: Registry,
    settings: ApiSettings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let ApiSettings { hosts, budget, grace, version } = settings;
    let capacity = Capacity::of_process(budget.connections_max().min(CONNECTIONS_MAX), database.connections_max())?;
    tracing::info!(%version, "started");
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
    // The endpoint held the last sender, so the writers end once the queue is empty.
    if let Ok(Err(failed)) = timeout(LAST_WRITES, writers.watch(&stop)).await {
        log_failed(&failed);
        ended = ended.and(Err(failed));
    }
    // Changes that have begun are completed even if their clients have left.
    detached.close();
    let _ = timeout(LAST_WRITES, detached.wait()).await;
    drop(chores);
    store.close().await;
    Ok(ended?)
}

fn log_failed(failed: &TaskError) {
    tracing::error!(error = failed as &dyn std::error::Error, "a vital task failed: this process will end");
}
