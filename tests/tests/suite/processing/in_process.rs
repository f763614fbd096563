//! A worker in this process, with work that a test writes.

use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use orders_shared::domain::{GIVE_UP_AFTER, Pauses, RetryPolicy};
use orders_shared::http::Listener;
use orders_shared::metrics::registry;
use orders_shared::store::StoreSettings;
use orders_shared::version::Version;
use orders_tests::Database;
use orders_worker::{Attempt, Outcome, Processor, Work, WorkerSettings};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const VERSION: Version = Version::new("0.0.0", None);

/// A worker that ends when it is told to.
pub(crate) struct InProcess {
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

/// Work that a function does at once.
pub(crate) fn does(work: impl Fn(Attempt<'_>) -> Outcome + Send + Sync + 'static) -> impl Processor {
    Does(work)
}

struct Does<F>(F);

/// Work whose attempts end one by one, each as the test says, and wait until it does.
pub(crate) fn ends_as_told() -> (mpsc::UnboundedSender<Outcome>, impl Processor) {
    let (tell, told) = mpsc::unbounded_channel();
    (tell, AsTold(Mutex::new(told)))
}

struct AsTold(Mutex<mpsc::UnboundedReceiver<Outcome>>);

#[async_trait]
impl Processor for AsTold {
    async fn process(&self, _: Attempt<'_>) -> Outcome {
        self.0.lock().await.recv().await.expect("the test says how the attempt ends")
    }
}

#[async_trait]
impl<F: Fn(Attempt<'_>) -> Outcome + Send + Sync + 'static> Processor for Does<F> {
    async fn process(&self, attempt: Attempt<'_>) -> Outcome {
        self.0(attempt)
    }
}

impl InProcess {
    /// A worker with one attempt an order more than one, a millisecond apart.
    pub(crate) async fn start(database: &Database, processor: impl Processor) -> Self {
        let stop = CancellationToken::new();
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let pauses = Pauses::Doubling { max_attempts: 2, base: Duration::from_millis(1) };
        let settings = WorkerSettings {
            concurrency: 8,
            poll: Duration::from_millis(10),
            timeout: Duration::from_mins(5),
            retries: RetryPolicy { pauses, give_up_after: GIVE_UP_AFTER },
            dead_after: Duration::from_secs(10),
            grace: Duration::from_millis(100),
            version: VERSION,
        };
        let store = StoreSettings::new(&database.url, 4).unwrap();
        let work = Work::of(processor);
        let run = orders_worker::run(store, listener, work, registry(VERSION).unwrap(), settings, stop.clone());
        Self { stop, running: tokio::spawn(run) }
    }

    /// Stops it; it must end in good order.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}
