//! The worker: claims due orders in batches, has a [`Processor`] work on them, and commits what became of them.
//!
//! `Invariant:` no transaction and no connection is held while an order is worked on.

pub mod config;
mod desk;
mod fetcher;
mod finisher;
mod metrics;
mod processor;

use std::sync::Arc;
use std::time::Duration;

use orders_shared::http::{Listener, Readiness, metrics_response, ops_routes, serve};
use orders_shared::store::Store;
use poem::{EndpointExt, get, handler, web::Data};
use prometheus::Registry;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;
use crate::fetcher::Fetcher;
use crate::finisher::Finisher;
use crate::metrics::WorkerMetrics;
pub use crate::processor::{ProcessingError, Processor, Simulated};

/// How one worker process works.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSettings {
    /// Orders worked on at once.
    pub concurrency: u32,
    /// Wait between looks at an empty queue.
    pub poll: Duration,
    /// Time that orders under way have to finish at shutdown.
    pub grace: Duration,
}

/// The ops endpoints must answer until the last order is finished or handed back, and not much longer.
const OPS_GRACE: Duration = Duration::from_secs(1);

/// Runs one worker until `stop`; then claims no more, finishes what it holds within the grace period, hands back the
/// rest, and returns.
///
/// # Errors
///
/// When the ops endpoints cannot be served or the metrics cannot be registered.
pub async fn run(
    store: Store,
    listener: Listener,
    processor: Arc<dyn Processor>,
    settings: WorkerSettings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let registry = orders_shared::metrics::registry()?;
    let metrics = Arc::new(WorkerMetrics::register(&registry, settings.concurrency)?);
    let ops_stop = CancellationToken::new();
    let routes =
        ops_routes(Readiness::new(store.clone(), stop.clone())).at("/metrics/prometheus", get(scrape.data(registry)));
    let ops = tokio::spawn(serve(listener, routes, ops_stop.clone(), OPS_GRACE));

    let (ended, endings) = mpsc::unbounded_channel();
    let desk = Desk::new(processor, ended, settings.concurrency, Arc::clone(&metrics));
    let finisher =
        tokio::spawn(Finisher::new(store.clone(), endings, Arc::clone(&metrics)).run(stop.clone(), settings.grace));
    Fetcher::new(store.clone(), desk, settings, metrics).run(stop).await;
    finisher.await?;

    ops_stop.cancel();
    ops.await??;
    store.close().await;
    Ok(())
}

#[handler]
fn scrape(Data(registry): Data<&Registry>) -> poem::Response {
    metrics_response(registry)
}
