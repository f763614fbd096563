//! The worker: claims due orders in batches, lets a [`Processor`] work on them, and commits the outcomes. [`main`] is a
//! whole program around a processor of your own.
//!
//! At a signal to stop, the claimer claims no more and the rescuer stops. When the grace period is over, work under way
//! is given up and handed back. Heartbeats go on until the last outcome is committed, so that nobody rescues what is
//! still being finished.
//!
//! `Invariant:` no transaction and no connection is held while an order is being processed.

mod allowance;
mod breaker;
mod claim_cursor;
mod claim_schedule;
mod claimer;
pub mod cli;
mod executor;
mod finisher;
mod gate;
mod heartbeat;
mod housekeeping;
mod metrics;
mod processors;
pub mod program;
mod rate;
mod rescuer;
mod wakeup;

use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::{ProcessorKind, Registration, WorkerId};
use orders_shared::http::{Capacity, Drain, Listener, Readiness, metrics_response, ops_routes, serve};
use orders_shared::shutdown::Shutdown;
use orders_shared::store::{Store, StoreSettings};
use orders_shared::tasks::{TaskError, Tasks};
use poem::{EndpointExt, Response, get, handler, web::Data};
use prometheus::Registry;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::claimer::Claimer;
pub use crate::cli::WorkerSettings;
use crate::executor::Executor;
use crate::finisher::{FINISHERS, Finisher};
use crate::heartbeat::Heartbeats;
use crate::housekeeping::Housekeeping;
use crate::metrics::{GateMetrics, WorkerMetrics};
pub use crate::processors::{
    Attempt, Delivery, Faults, FulfilmentSettings, Processor, Simulated, Work, deliver, print_curl,
};
pub use crate::program::main;
use crate::rescuer::Rescuer;
use crate::wakeup::Wakeup;
pub use async_trait::async_trait;
pub use orders_shared::domain::{
    Done, ErrorClass, HttpAnswer, NotDone, Order, OrderResult, OrderResultError, Outcome, WorkError,
};
pub use orders_shared::version::Version;

/// The most connections to the ops endpoints: far more than probes and scrapers need, and few enough that strangers
/// cannot take memory that the work needs.
const OPS_CONNECTIONS_MAX: usize = 1_024;

/// The most database connections that the work of one process uses: two claims, two commits of outcomes, and a rescue.
const WORK_CONNECTIONS: u32 = 5;

/// How long after the grace period the last outcomes may still be committed. If the database has not taken them by then
/// it is away, and their orders are rescued when it is back.
const LAST_COMMITS: Duration = Duration::from_secs(1);

/// How long the last steps of a shutdown may take: unregistering this worker, and closing its ops endpoints.
const LAST_STEP: Duration = Duration::from_millis(300);

/// Runs one worker until `stop`; then claims no more, finishes the orders it holds within the grace period, hands back
/// the rest, and returns. Adds its metrics to `registry`.
///
/// Fails if the limit on open files is too low, the metrics cannot be registered, the database does not honour SKIP
/// LOCKED, or another vital task fails. Orders under way are then handed back at once.
pub async fn run(
    database: StoreSettings,
    listener: Listener,
    work: Work,
    registry: Registry,
    settings: WorkerSettings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let capacity = Capacity::of_process(OPS_CONNECTIONS_MAX, database.connections_max())?;
    tracing::info!(version = %settings.version, "started");
    if work.kind == ProcessorKind::Simulated {
        tracing::warn!(
            "this worker only simulates work: orders become COMPLETED although nothing is done for them; see \
             docs/PROCESSING.md for real work"
        );
    }
    let stop = stop.child_token();
    let metrics = Arc::new(WorkerMetrics::register(&registry, settings.concurrency)?);
    if let Some(gate) = &work.gate {
        gate.report_to(GateMetrics::register(&registry)?);
    }
    let wakeup = Wakeup::bind(listener.address(), Arc::clone(&metrics)).await;
    let (host, port) = database.server();
    let advertised_address = wakeup.advertised_address((host.to_owned(), port));
    let heartbeat_store = Store::new(database.single());
    let store = Store::new(database.with_work_connections(WORK_CONNECTIONS));
    let (results, received) = mpsc::unbounded_channel();
    let received = Arc::new(Mutex::new(received));
    let finishers = [(); FINISHERS].map(|()| Finisher::new(store.clone(), Arc::clone(&received), Arc::clone(&metrics)));
    // Once the finishers are gone, the executor must notice that nobody receives its results.
    drop(received);
    let shutdown = Shutdown::after(stop.clone(), settings.grace);
    let mut vital = Vital { work: Tasks::new(), presence: Tasks::new(), drained: CancellationToken::new(), stop };

    let (readiness, readiness_reader) = Readiness::new(vital.stop.clone());
    let rejections = finishers.each_ref().map(Finisher::rejection);
    let readiness = readiness.and(move || rejections.iter().find_map(|rejection| rejection.borrow().clone()));
    let drain = Drain::at_once(vital.drained.clone(), LAST_STEP);
    let routes = ops_routes(readiness).at("/metrics/prometheus", get(scrape.data(registry)));
    vital.presence.spawn("readiness", readiness_reader.run(store.for_watching()));
    vital.presence.spawn("ops server", serve(listener, routes, drain, capacity));
    let (registration, identity) = (registration(&settings, work.kind), watch::Sender::new(None));
    let rescuer = Rescuer {
        store: store.clone(),
        identity: identity.subscribe(),
        registration: registration.clone(),
        clock_is_behind: false,
        metrics: Arc::clone(&metrics),
    };
    // Nobody calls a worker, so the chores have the connections of callers.
    let housekeeping = Housekeeping { store: store.for_callers(), identity: identity.subscribe() };
    let executor = Executor::new(work.processor, results, &settings, Arc::clone(&metrics));
    let claimer = Claimer::new(
        store.clone(),
        executor,
        identity.subscribe(),
        wakeup,
        work.gate.clone(),
        settings.poll,
        Arc::clone(&metrics),
    );
    let heartbeats = Heartbeats {
        heartbeat_store: heartbeat_store.clone(),
        store: store.clone(),
        advertised_address,
        registration,
        identity,
        gate: work.gate,
        metrics,
    };
    vital.presence.spawn_fallible("heartbeat", heartbeats.run(vital.drained.clone()));
    vital.work.spawn("rescuer", rescuer.run(shutdown.clone()));
    vital.work.spawn("housekeeping", housekeeping.run(shutdown.clone()));
    for finisher in finishers {
        vital.work.spawn("finisher", finisher.run());
    }
    vital.work.spawn("claimer", claimer.run(shutdown.clone()));

    let ended = vital.run_to_end(&shutdown).await;
    tokio::join!(store.close(), heartbeat_store.close());
    Ok(ended?)
}

/// The tasks that a worker cannot do without.
struct Vital {
    /// They end by themselves after `stop`, when the last order is finished or handed back.
    work: Tasks,
    /// The ops endpoints and the heartbeat, which continue until then.
    presence: Tasks,
    stop: CancellationToken,
    drained: CancellationToken,
}

impl Vital {
    /// Waits until the work is done. If a task fails, the shutdown is cut short, and other workers take over the
    /// orders.
    async fn run_to_end(mut self, shutdown: &Shutdown) -> Result<(), TaskError> {
        let mut too_late = Box::pin(async {
            shutdown.over().await;
            tokio::time::sleep(LAST_COMMITS).await;
        });
        let mut ended = Ok(());
        let mut fail = |failed: TaskError| {
            tracing::error!(error = &failed as &dyn std::error::Error, "a vital task failed: this process ends");
            shutdown.cut_short();
            if ended.is_ok() {
                ended = Err(failed);
            }
        };
        loop {
            tokio::select! {
                done = self.work.watch(&self.stop) => match done {
                    Ok(()) => break,
                    Err(failed) => fail(failed),
                },
                Err(failed) = self.presence.watch(&self.drained) => fail(failed),
                () = &mut too_late => {
                    tracing::error!("the last outcomes could not be committed; their orders will be rescued");
                    break;
                }
            }
        }
        self.drained.cancel();
        if let Ok(Err(failed)) = tokio::time::timeout(LAST_STEP, self.presence.watch(&self.drained)).await {
            fail(failed);
        }
        ended
    }
}

fn registration(settings: &WorkerSettings, processor: ProcessorKind) -> Registration {
    Registration {
        worker_id: WorkerId::fresh(),
        host: rustix::system::uname().nodename().to_string_lossy().chars().take(255).collect(),
        pid: std::process::id(),
        version: settings.version.to_string().chars().take(64).collect(),
        processor,
        slots: settings.concurrency,
        wakeup_address: None,
        dead_after: settings.dead_after,
    }
}

#[handler]
fn scrape(Data(registry): Data<&Registry>) -> Response {
    metrics_response(registry)
}
