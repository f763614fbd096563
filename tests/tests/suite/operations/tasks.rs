//! Tasks of the programs that die. A log that panics, as a log can, kills them from within: the programs run in the
//! test's own process, and its only thread has that log.

use std::net::Ipv4Addr;
use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use orders_api::{ApiSettings, Hosts, MemoryBudget};
use orders_shared::domain::{GIVE_UP_AFTER, Pauses, RetryPolicy};
use orders_shared::http::Listener;
use orders_shared::metrics::registry;
use orders_shared::store::StoreSettings;
use orders_shared::version::Version;
use orders_tests::{Database, System, database, wait_until};
use orders_worker::{Attempt, Done, Outcome, Processor, Work, WorkerSettings};
use reqwest::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, registry as spans};

use crate::sample;

const VERSION: Version = Version::new("0.0.0", None);

/// Longer than the programs may take to end once something died.
const GRACE: Duration = Duration::from_mins(5);

/// A log that panics when a module says something with this message.
struct PanicsAt(&'static str, &'static str);

impl PanicsAt {
    /// For this thread, until the guard is dropped.
    fn log(module: &'static str, message: &'static str) -> DefaultGuard {
        spans().with(Self(module, message)).set_default()
    }
}

impl<S: Subscriber> Layer<S> for PanicsAt {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            if field.name() == "message" {
                message = format!("{value:?}");
            }
        });
        if event.metadata().target() == self.0 && message.starts_with(self.1) {
            resume_unwind(Box::new("the log is full"));
        }
    }
}

#[tokio::test]
async fn a_worker_whose_housekeeping_dies_ends_and_says_so() {
    let database = database().await;
    database.execute("drop table idempotency_keys").await;
    let _log = PanicsAt::log("orders_worker::housekeeping", "could not prune");

    let worker = work(&database, NeverEnds);

    assert_eq!(wait_for_end(worker).await, "the housekeeping panicked: the log is full");
}

#[tokio::test]
async fn an_api_whose_intake_dies_answers_what_is_under_way_and_ends() {
    let database = database().await;
    let _log = PanicsAt::log("orders_api::intake", "orders rejected");
    let (url, api) = serve(&database).await;
    database.execute("rename table orders to away").await;

    let order = sample::order().to_string();
    let request = Client::new().post(format!("{url}/order/create-order")).header("content-type", "application/json");
    let answer = request.body(order).send().await.unwrap();

    assert_eq!(answer.status(), 500);
    assert_eq!(wait_for_end(api).await, "the intake panicked: the log is full");
}

#[tokio::test]
async fn a_worker_whose_claimer_dies_ends_and_says_so() {
    let database = database().await;
    let _log = PanicsAt::log("orders_worker::claimer", "claim failed");
    database.execute("rename table orders to away").await;

    let worker = work(&database, NeverEnds);

    assert_eq!(wait_for_end(worker).await, "the claimer panicked: the log is full");
}

#[tokio::test]
async fn a_worker_whose_heartbeat_dies_ends_and_says_so() {
    let database = database().await;
    let _log = PanicsAt::log("orders_worker::heartbeat", "registered");

    let worker = work(&database, NeverEnds);

    assert_eq!(wait_for_end(worker).await, "the heartbeat panicked: the log is full");
}

#[tokio::test]
async fn a_worker_whose_vital_task_dies_hands_back_what_it_holds() {
    let system = System::start().await;
    let _log = PanicsAt::log("orders_worker::rescuer", "rescue failed");
    let worker = work(&system.database, NeverEnds);
    let order_id = system.place(&sample::order()).await;
    system.database.wait_for_status(order_id, "PROCESSING").await;

    system.database.execute("rename table workers to away").await;

    assert_eq!(wait_for_end(worker).await, "the rescuer panicked: the log is full");
    assert_eq!(system.database.state(order_id).await, ("PENDING".to_owned(), 0));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_task_dies_is_a_failed_one_and_its_slot_gets_free() {
    let system = System::start().await;
    let stop = CancellationToken::new();
    let worker =
        tokio::spawn(run(system.database.url.clone(), DiesOfItsDestructor, Duration::from_millis(100), stop.clone()));

    let order_id = system.place(&sample::order_of(13)).await;
    let order = system.wait_for_status(order_id, "FAILED").await;
    let other = system.place(&sample::order()).await;
    system.wait_for_status(other, "COMPLETED").await;

    assert_eq!((&order["attempt"], &order["last_error"]), (&2.into(), &"the task of this attempt died".into()));
    assert_eq!(system.story(order_id).await, ["placed", "claimed", "attempt_failed", "claimed", "failed"]);
    stop.cancel();
    worker.await.unwrap().unwrap();
    system.end().await;
}

/// Work that has no end.
struct NeverEnds;

#[async_trait]
impl Processor for NeverEnds {
    async fn process(&self, _: Attempt<'_>) -> Outcome {
        std::future::pending().await
    }
}

/// Work that has no end for user 13, and panics when it is given up.
struct DiesOfItsDestructor;

#[async_trait]
impl Processor for DiesOfItsDestructor {
    async fn process(&self, Attempt { order, .. }: Attempt<'_>) -> Outcome {
        struct Bad;
        impl Drop for Bad {
            fn drop(&mut self) {
                resume_unwind(Box::new("given up"));
            }
        }
        if order.user_id.get() == 13 {
            let _bad = Bad;
            std::future::pending::<()>().await;
        }
        Ok(Done::default())
    }
}

/// An API in this process, and its URL, as soon as it is alive.
async fn serve(database: &Database) -> (String, JoinHandle<Result<(), String>>) {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let url = format!("http://{}", listener.address());
    let serving = orders_api::serve(
        settings(&database.url),
        listener,
        registry(VERSION).unwrap(),
        ApiSettings {
            hosts: Hosts::reached_at(Ipv4Addr::LOCALHOST.into(), &[]).unwrap(),
            budget: MemoryBudget::of_mb(192),
            grace: GRACE,
            version: VERSION,
        },
        CancellationToken::new(),
    );
    (url, tokio::spawn(async { serving.await.map_err(|error| error.to_string()) }))
}

/// A worker in this process.
fn work(database: &Database, processor: impl Processor) -> JoinHandle<Result<(), String>> {
    tokio::spawn(run(database.url.clone(), processor, GRACE, CancellationToken::new()))
}

async fn run(url: String, processor: impl Processor, timeout: Duration, stop: CancellationToken) -> Result<(), String> {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let worker = WorkerSettings {
        concurrency: 1,
        poll: Duration::from_millis(10),
        timeout,
        retries: RetryPolicy {
            pauses: Pauses::Doubling { max_attempts: 2, base: Duration::from_millis(1) },
            give_up_after: GIVE_UP_AFTER,
        },
        dead_after: Duration::from_secs(2),
        grace: GRACE,
        version: VERSION,
    };
    let work = Work::of(processor);
    let run = orders_worker::run(settings(&url), listener, work, registry(VERSION).unwrap(), worker, stop);
    run.await.map_err(|error| error.to_string())
}

fn settings(url: &str) -> StoreSettings {
    StoreSettings::new(url, 4).unwrap()
}

/// Why a program ended, which it does soon.
async fn wait_for_end(program: JoinHandle<Result<(), String>>) -> String {
    let start = Instant::now();
    wait_until("the program ends", async || program.is_finished()).await;
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    program.await.unwrap().unwrap_err()
}
