//! Faults of the server and of the way to it while the programs are at work, one by one.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orders_tests::{
    Api, Database, History, OwnServer, Proxy, SOON, System, Worker, assert_counts_are_exact, database, eventually,
    wait_until,
};
use uuid::Uuid;

use crate::clients::{Addresses, Clients};
use crate::sample;

/// Long enough for killed connections to have been in every state, some times over.
const A_MINUTE: Duration = Duration::from_mins(1);

/// How often one dies: often enough to be always mending, seldom enough to get something done.
const BETWEEN_KILLS: Duration = Duration::from_millis(200);

const DEAD_AFTER: (&str, &str) = ("WORKER_DEAD_AFTER_SECS", "2");

/// Some work in every order, so that faults meet it.
pub(super) const WORK: [(&str, &str); 3] = [DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "20"), ("WORKER_CONCURRENCY", "8")];

/// An API, two workers and clients that place orders all the time.
struct Scene<'a> {
    database: &'a Database,
    api: Api,
    workers: [Worker; 2],
    clients: Clients,
}

impl<'a> Scene<'a> {
    async fn begin(database: &'a Database, url: &str) -> Self {
        History::record(&database.pool).await;
        let api = Api::start(url, &[]).await;
        let workers = [Worker::start(url, &WORK).await, Worker::start(url, &WORK).await];
        let addresses = Addresses::default();
        addresses.set(0, api.url(""));
        let clients = Clients::start(&addresses);
        let scene = Self { database, api, workers, clients };
        scene.wait_until_orders_complete().await;
        scene
    }

    /// Waits until more orders are completed than now: the system works.
    async fn wait_until_orders_complete(&self) {
        self.api.wait_until_ready().await;
        self.database.wait_until_more_are_completed().await;
    }

    /// Proves from the history that every accepted order was completed or, by a client, canceled.
    async fn end(self) {
        self.wait_until_orders_complete().await;
        let orders = self.clients.stop().await;
        self.database.wait_until_none_is_open().await;
        assert_counts_are_exact(&self.database.pool).await;
        let summary = History::assert_is_sound(&self.database.pool, &orders.accepted, orders.unanswered).await;
        assert_eq!(summary.failed, 0, "{summary:?}");
        assert!(orders.accepted.len() > 40, "{} accepted", orders.accepted.len());
        for worker in &self.workers {
            assert!(worker.ended().is_none(), "a worker has ended");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_and_killed_under_load_loses_no_order() {
    let server = OwnServer::start(&[]).await;
    let scene = Scene::begin(&server, &server.url).await;

    server.restart().await;
    scene.wait_until_orders_complete().await;
    server.kill();
    server.start_again().await;

    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_freezes_for_longer_than_workers_live_loses_no_order() {
    let server = OwnServer::start(&[]).await;
    let scene = Scene::begin(&server, &server.url).await;

    server.freeze();
    scene.api.wait_for_readiness(503).await;
    for worker in &scene.workers {
        worker.wait_for_readiness(503).await;
    }
    server.thaw();

    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_the_dead_are_rescued_and_the_living_are_not() {
    let system = System::on(OwnServer::start(&[]).await, &[]).await;
    let env =
        |secs| [("WORKER_DEAD_AFTER_SECS", secs), ("SIMULATED_PROCESSING_MS", "600000"), ("WORKER_CONCURRENCY", "4")];
    let dead = system.start_worker(&env("1")).await;
    let orders = place_and_wait_until_claimed(&system.database, &system, 4).await;
    let _living = [system.start_worker(&env("5")).await, system.start_worker(&env("5")).await];
    let theirs = place_and_wait_until_claimed(&system.database, &system, 8).await;

    dead.kill();
    system.database.freeze();
    let frozen = Instant::now();
    wait_until("every heartbeat has run out", async || frozen.elapsed() > Duration::from_secs(6)).await;
    system.database.thaw();

    wait_until("the dead one's orders are rescued", async || rescues(&system.database, &orders).await == [1; 4]).await;
    assert_eq!(rescues(&system.database, &theirs).await, [0; 8]);
    system.end_with_work_under_way().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_nobody_needs_any_more_are_closed() {
    const ASKED: i64 = 6;
    let system = System::on(OwnServer::start(&[]).await, &[]).await;
    let path = format!("/orders/{}", system.place(&sample::order()).await);
    let mut holder = system.database.pool.acquire().await.unwrap();
    sqlx::raw_sql("lock tables orders write").execute(&mut *holder).await.unwrap();
    let few = system.database.connections().await.len();

    // A request that waits for too long is refused.
    let answers = join_all((0..ASKED).map(|_| {
        eventually("it is answered", SOON, || async { (system.get(&path).await.status == 200).then_some(()) })
    }));
    tokio::join!(answers, async {
        wait_until("each request has a connection", async || {
            system.database.sessions_that_wait_for_a_table().await >= ASKED
        })
        .await;
        sqlx::raw_sql("unlock tables").execute(&mut *holder).await.unwrap();
    });

    wait_until("they are closed", async || system.database.connections().await.len() <= few + 1).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_killed_and_a_server_that_only_reads_lose_no_order() {
    let server = OwnServer::start(&[]).await;
    let scene = Scene::begin(&server, &server.url).await;

    let started = Instant::now();
    let mut ticks = tokio::time::interval(BETWEEN_KILLS);
    while started.elapsed() < A_MINUTE {
        ticks.tick().await;
        kill_a_connection(&server).await;
    }
    scene.wait_until_orders_complete().await;
    server.execute("set global read_only = 1").await;
    wait_until("an order is refused", async || {
        let reply = scene.api.post("/order/create-order", &sample::order().to_string()).await;
        reply.status == 503
    })
    .await;
    server.execute("set global read_only = 0").await;

    // The orders that this test itself placed, and that may be stored or not, belong to no client.
    let Scene { database, api, workers, clients } = scene;
    Scene { database, api, workers, clients: clients.and_unanswered(1_000) }.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_want_more_connections_than_there_are_share_them() {
    let server = OwnServer::start(&["--max-connections=12"]).await;

    let scene = Scene::begin(&server, &server.url).await;

    wait_until("a list gets a connection, and until then is told to come again", async || {
        let reply = scene.api.get("/order/status/completed").await;
        reply.status == 200 || reply.assert_problem(503).is_null()
    })
    .await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_connection_that_is_cut_again_and_again_loses_no_order() {
    let database = database().await;
    let proxy = Proxy::start(&database.url).await;
    let scene = Scene::begin(&database, &proxy.url).await;

    for round in 0..20 {
        proxy.delay(Duration::from_millis(round));
        let completed = database.orders_in("COMPLETED").await;
        wait_until("some are completed meanwhile", async || database.orders_in("COMPLETED").await > completed).await;
        proxy.drop_connections();
    }
    proxy.delay(Duration::ZERO);

    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_at_full_load_leaves_no_order_to_be_rescued() {
    let database = database().await;
    let mut scene = Scene::begin(&database, &database.url).await;
    let env = [("SIMULATED_PROCESSING_MS", "1000"), ("SHUTDOWN_GRACE_SECS", "1"), ("WORKER_CONCURRENCY", "16")];

    for _ in 0..3 {
        let busy = Worker::start(&database.url, &env).await;
        wait_until("it works at full load", async || busy.counter("orders_worker_slots_busy").await > 7.5).await;
        let replaced = std::mem::replace(&mut scene.workers[0], busy);
        let asked = Instant::now();
        assert_eq!(replaced.terminate().await.code(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(25 + 2));
    }
    let Scene { database, api, workers: [first, second], clients } = scene;
    let asked = Instant::now();
    assert_eq!(first.terminate().await.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(1 + 2), "{:?}", asked.elapsed());
    let workers = [Worker::start(&database.url, &WORK).await, second];
    Scene { database, api, workers, clients }.end().await;

    let rescues: u8 = database.scalar("select max(rescues) from orders").await;
    assert_eq!(rescues, 0);
}

async fn place_and_wait_until_claimed(database: &Database, api: &Api, orders: usize) -> Vec<Uuid> {
    let before = database.orders_in("PROCESSING").await;
    let mut placed = Vec::new();
    for _ in 0..orders {
        placed.push(api.place(&sample::order()).await);
    }
    database.wait_for_orders_in("PROCESSING", before + i64::try_from(orders).unwrap()).await;
    placed
}

async fn rescues(database: &Database, orders: &[Uuid]) -> Vec<u8> {
    let mut rescues = Vec::new();
    for order_id in orders {
        rescues.push(database.column(*order_id, "rescues").await);
    }
    rescues
}

/// Ends one of the programs' connections, by chance.
async fn kill_a_connection(server: &OwnServer) {
    let open = server.connections().await;
    let chance = usize::try_from(Uuid::now_v7().as_u64_pair().1 % 1_000).unwrap();
    if let Some(id) = open.get(chance % open.len().max(1)) {
        server.kill_connection(*id).await;
    }
}
