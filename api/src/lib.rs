//! The HTTP API: takes orders in, shows them, reports on them.

mod bell;
#[cfg(feature = "bench")]
pub mod bench;
mod census;
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
mod routes;

use std::sync::Arc;
use std::time::Duration;

use orders_shared::http::{Ending, Listener, Readiness};
use orders_shared::store::Store;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bell::Bell;
use crate::census::Census;
pub use crate::doctor::doctor;
use crate::ends::Ends;
use crate::intake::Intake;
use crate::metrics::ApiMetrics;
use crate::routes::Parts;
pub use crate::routes::openapi_json;

/// How long orders whose clients were cut off may still take to be written, once the grace period is over.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// Serves the API until `stop`; requests under way then have `grace` to finish.
///
/// # Errors
///
/// When the metrics cannot be registered.
pub async fn serve(store: Store, listener: Listener, grace: Duration, stop: CancellationToken) -> anyhow::Result<()> {
    let registry = orders_shared::metrics::registry()?;
    let metrics = Arc::new(ApiMetrics::register(&registry)?);
    let (bell, ringer) = Bell::new();
    let (intake, writers) = Intake::start(&store, &bell, &metrics);
    let ends = Ends::new(stop.clone());
    let (census, counter) = Census::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(counter.run(store.clone()));
    tasks.spawn(ringer.run(store.clone(), Arc::clone(&metrics)));
    tasks.spawn(pruner::prune(store.clone(), stop.clone()));
    tasks.spawn(ends.clone().watch(store.clone()));
    let readiness = Readiness::new(store.clone(), stop.clone());
    let (endpoint, refusal) =
        routes::endpoint(Parts { store: store.clone(), intake, bell, ends, census, readiness, registry, metrics })?;

    orders_shared::http::serve(listener, endpoint, Some(refusal), Ending::after_a_window(stop, grace)).await;
    // The last endpoint is gone and with it the last sender: the writers end once the queue is empty.
    let _ = tokio::time::timeout(LAST_WRITES, writers.join_all()).await;
    store.close().await;
    Ok(())
}
