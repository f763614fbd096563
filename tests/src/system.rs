//! What most tests start: a database, an API, and the further programs that a test wants.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use crate::counts::assert_counts_are_exact;
use crate::database::{Database, database};
use crate::eventually::wait_until;
use crate::own_server::OwnServer;
use crate::program::{Api, Kind, Program, Running, Worker};
use crate::proxy::Proxy;

/// A running system. To its clients it is its API: `system.get("/orders")` asks that.
///
/// Its end checks what every test must leave behind, so a test that drops it without ending it fails.
#[derive(Debug)]
pub struct System<D = Database> {
    /// The API that the clients ask.
    pub api: Api,
    /// Between the database and those programs that were started behind it.
    pub proxy: Proxy,
    /// The database, for the test to look behind the scenes.
    pub database: D,
    programs: Mutex<Vec<Arc<Program>>>,
    is_ended: bool,
}

impl System {
    /// A fresh database and an API.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A fresh database and an API with these settings.
    pub async fn start_with(env: &[(&str, &str)]) -> Self {
        Self::on(database().await, env).await
    }

    /// A fresh database and an API with these settings that reaches it by way of the proxy.
    pub async fn start_behind_proxy(env: &[(&str, &str)]) -> Self {
        let database = database().await;
        let proxy = Proxy::start(&database.url).await;
        Self::new(Api::start(&proxy.url, env).await, proxy, database)
    }
}

impl<D: AsRef<Database>> System<D> {
    /// An API with these settings on a database that is there.
    pub async fn on(database: D, env: &[(&str, &str)]) -> Self {
        let url = &database.as_ref().url;
        Self::new(Api::start(url, env).await, Proxy::start(url).await, database)
    }

    fn new(api: Api, proxy: Proxy, database: D) -> Self {
        let programs = Mutex::new(vec![api.program()]);
        Self { api, proxy, database, programs, is_ended: false }
    }

    /// Starts another API and waits until it is ready.
    pub async fn start_api(&self, env: &[(&str, &str)]) -> Api {
        self.start_program(env).await
    }

    /// Starts a worker and waits until it is ready.
    pub async fn start_worker(&self, env: &[(&str, &str)]) -> Worker {
        self.start_program(env).await
    }

    /// Starts a program of any kind and waits until it is ready.
    pub async fn start_program<K: Kind>(&self, env: &[(&str, &str)]) -> Running<K> {
        let program = Running::<K>::start(&self.database.as_ref().url, env).await;
        self.keep(program.program());
        program
    }

    /// Starts a worker that reaches the database by way of the proxy, and waits until it is ready.
    pub async fn start_worker_behind_proxy(&self, env: &[(&str, &str)]) -> Worker {
        let worker = Worker::start(&self.proxy.url, env).await;
        self.keep(worker.program());
        worker
    }

    fn keep(&self, program: Arc<Program>) {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).push(program);
    }

    /// Waits until no order is PROCESSING, and proves that the counts are exact.
    pub async fn end(self) {
        wait_until("no order is left PROCESSING", async || self.processing().await == 0).await;
        self.end_counted().await;
    }

    /// Ends a system with orders that will stay PROCESSING, and proves that the counts are exact nevertheless.
    pub async fn end_with_work_under_way(self) {
        wait_until("an order is PROCESSING (where none is, `end` is right)", async || self.processing().await > 0)
            .await;
        self.end_counted().await;
    }

    /// Ends a system whose orders the test itself has added or changed, so that nothing can be proved.
    pub fn end_uncounted(mut self) {
        self.is_ended = true;
    }

    async fn processing(&self) -> i64 {
        self.database.as_ref().orders_in("PROCESSING").await
    }

    async fn end_counted(mut self) {
        assert_counts_are_exact(&self.database.as_ref().pool).await;
        self.is_ended = true;
    }
}

impl AsRef<Database> for OwnServer {
    fn as_ref(&self) -> &Database {
        self
    }
}

impl<D> Deref for System<D> {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl<D> Drop for System<D> {
    /// Ends the programs before their database goes, though the test may still hold some of them.
    fn drop(&mut self) {
        assert!(self.is_ended || std::thread::panicking(), "the test did not end its system: `system.end().await`");
        for program in self.programs.get_mut().unwrap_or_else(PoisonError::into_inner) {
            program.kill();
        }
    }
}
