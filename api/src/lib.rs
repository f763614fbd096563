//! The HTTP API: takes orders in, shows them, reports on them.

mod bell;
pub mod config;
mod doctor;
mod document;
mod dto;
mod edge;
mod ends;
mod idempotency;
mod intake;
mod memory;
mod metrics;
mod payload;
mod problems;
mod pruner;
mod reports;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use orders_shared::coalesced::Coalesced;
use orders_shared::http::{CONNECTIONS_MAX, Capacity, Drain, Listener, Readiness};
use orders_shared::store::{Store, StoreSettings};
use orders_shared::tasks::{TaskError, Tasks};
use prometheus::Registry;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bell::Bell;
pub use crate::doctor::doctor;
pub use crate::edge::Hosts;
use crate::ends::Ends;
use crate::intake::Intake;
pub use crate::memory::MemoryBudget;
use crate::metrics::ApiMetrics;
use crate::routes::Parts;
pub use crate::routes::{openapi_3_0_json, openapi_json};

/// Between two readings of the queue, which everybody may ask for.
const QUEUE_READINGS_APART: Duration = Duration::from_millis(100);

/// How long orders whose clients were cut off may still take to be written, once the grace period is over.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// How long requests under way may take once a vital task has failed: the window in which connections are still taken, and
/// two seconds for the last answers. Shorter would cut off who could be answered, longer would keep back a process that a
/// supervisor should start again.
const FAILED_GRACE: Duration = Duration::from_secs(7);

/// Serves the API, to requests that name one of `hosts`, until `stop`; requests under way then have `grace` to finish. Its figures are added to `registry`.
///
/// # Errors
///
/// When the process may have too few descriptors, the metrics cannot be registered, or a vital task fails; then too requests
/// under way are answered, for a short time.
pub async fn serve(
    database: StoreSettings,
    listener: Listener,
    hosts: Hosts,
    registry: Registry,
    budget: MemoryBudget,
    grace: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let capacity = Capacity::of_process(budget.connections_max().min(CONNECTIONS_MAX), database.connections_max())?;
    let stop = stop.child_token();
    let store = Store::new(database.with_work_connections(intake::WRITERS));
    let metrics = Arc::new(ApiMetrics::register(&registry)?);
    let (mut writers, mut chores) = (Tasks::new(), Tasks::new());
    let (bell, ringer) = Bell::new();
    let intake = Intake::start(&store, budget.intake(), &bell, &metrics, &mut writers);
    let ends = Ends::new(capacity.connections(), stop.clone());
    let (counts, counter) = Coalesced::new(Duration::ZERO);
    let (queue, queue_reader) = Coalesced::new(QUEUE_READINGS_APART);
    let (readiness, readiness_reader) = Readiness::new(stop.clone());
    let watching = store.for_watching();
    chores.spawn("counts", counter.run(reports::counts_of(watching.clone())));
    chores.spawn("queue reports", queue_reader.run(reports::queue_of(watching.clone())));
    chores.spawn("readiness", readiness_reader.run(watching.clone()));
    chores.spawn("wakeup", ringer.run(watching.clone(), Arc::clone(&metrics)));
    chores.spawn("pruner", pruner::prune(watching.clone(), stop.clone()));
    chores.spawn("wait for orders", ends.clone().watch(watching));
    let detached = TaskTracker::new();
    let endpoint = routes::endpoint(Parts {
        hosts,
        store: store.for_callers(),
        budget,
        detached: detached.clone(),
        intake,
        bell,
        ends,
        counts,
        queue,
        readiness,
        registry,
        metrics,
    })?;

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
