//! The HTTP API: takes orders in, shows them, reports on them.

mod bell;
#[cfg(feature = "bench")]
pub mod bench;
pub mod config;
mod doctor;
mod document;
mod dto;
mod edge;
mod ends;
mod idempotency;
mod intake;
mod metrics;
mod payload;
mod problems;
mod pruner;
mod reports;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use orders_shared::coalesced::Coalesced;
use orders_shared::http::{Ending, Listener, Readiness};
use orders_shared::store::{Store, StoreSettings};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bell::Bell;
pub use crate::doctor::doctor;
use crate::ends::Ends;
use crate::intake::Intake;
use crate::metrics::ApiMetrics;
use crate::routes::Parts;
pub use crate::routes::openapi_json;

/// Between two readings of the queue, which everybody may ask for.
const QUEUE_READINGS_APART: Duration = Duration::from_millis(100);

/// How long orders whose clients were cut off may still take to be written, once the grace period is over.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// Serves the API until `stop`; requests under way then have `grace` to finish.
///
/// # Errors
///
/// When the metrics cannot be registered.
pub async fn serve(
    database: StoreSettings,
    listener: Listener,
    grace: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let store = Store::new(database.with_work_connections(intake::WRITERS));
    let registry = orders_shared::metrics::registry()?;
    let metrics = Arc::new(ApiMetrics::register(&registry)?);
    let (bell, ringer) = Bell::new();
    let (intake, writers) = Intake::start(&store, &bell, &metrics);
    let ends = Ends::new(stop.clone());
    let (counts, counter) = Coalesced::new(Duration::ZERO);
    let (queue, queue_reader) = Coalesced::new(QUEUE_READINGS_APART);
    let (readiness, readiness_reader) = Readiness::new(stop.clone());
    let watching = store.for_watching();
    let mut tasks = JoinSet::new();
    tasks.spawn(counter.run({
        let store = watching.clone();
        move || reports::read_counts(store.clone())
    }));
    tasks.spawn(queue_reader.run({
        let store = watching.clone();
        move || reports::read_queue(store.clone())
    }));
    tasks.spawn(readiness_reader.run(watching.clone()));
    tasks.spawn(ringer.run(watching.clone(), Arc::clone(&metrics)));
    tasks.spawn(pruner::prune(watching.clone(), stop.clone()));
    tasks.spawn(ends.clone().watch(watching));
    let (endpoint, refusal) = routes::endpoint(Parts {
        store: store.for_callers(),
        intake,
        bell,
        ends,
        counts,
        queue,
        readiness,
        registry,
        metrics,
    })?;

    orders_shared::http::serve(listener, endpoint, Some(refusal), Ending::after_a_window(stop, grace)).await;
    // The last endpoint is gone and with it the last sender: the writers end once the queue is empty.
    let _ = tokio::time::timeout(LAST_WRITES, writers.join_all()).await;
    store.close().await;
    Ok(())
}
