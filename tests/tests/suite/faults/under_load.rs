//! Faults of the server and of the way to it while the programs are at work, one by one.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orders_tests::{
    Api, Database, History, OwnServer, Proxy, Worker, assert_counts_are_exact, check, database, eventually,
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
        sample::wait_until_more_are_completed(self.database).await;
    }

    /// Proves from the history that every accepted order was completed or, by a client, canceled.
    async fn end(self) {
        self.wait_until_orders_complete().await;
        let orders = self.clients.stop().await;
        sample::wait_until_none_is_open(self.database).await;
        assert_counts_are_exact(&self.database.pool).await;
        let history = History::read(&self.database.pool).await;
        let summary = check(&history, &orders.accepted, orders.unanswered)
            .unwrap_or_else(|violations| panic!("{} orders: {violations:#?}", violations.len()));
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
    let server = OwnServer::start(&[]).await;
    let api = Api::start(&server.url, &[]).await;
    let env =
        |secs| [("WORKER_DEAD_AFTER_SECS", secs), ("SIMULATED_PROCESSING_MS", "600000"), ("WORKER_CONCURRENCY", "4")];
    let dead = Worker::start(&server.url, &env("1")).await;
    let orders = place_and_wait_until_claimed(&server, &api, 4).await;
    let _living = [Worker::start(&server.url, &env("5")).await, Worker::start(&server.url, &env("5")).await];
    let theirs = place_and_wait_until_claimed(&server, &api, 8).await;

    dead.kill();
    server.freeze();
    let frozen = Instant::now();
    eventually("every heartbeat has run out", sample::SOON, || async {
        (frozen.elapsed() > Duration::from_secs(6)).then_some(())
    })
    .await;
    server.thaw();

    eventually("the dead one's orders are rescued", sample::SOON, || async {
        (rescues(&server, &orders).await == [1; 4]).then_some(())
    })
    .await;
    assert_eq!(rescues(&server, &theirs).await, [0; 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_nobody_needs_any_more_are_closed() {
    const ASKED: i64 = 6;
    let server = OwnServer::start(&[]).await;
    let api = Api::start(&server.url, &[]).await;
    let path = format!("/orders/{}", api.place(&sample::order()).await);
    let mut holder = server.pool.acquire().await.unwrap();
    sqlx::raw_sql("lock tables orders write").execute(&mut *holder).await.unwrap();
    let few = server.connections().await.len();

    // A request that waits for too long is refused.
    let answers = join_all((0..ASKED).map(|_| {
        eventually("it is answered", sample::SOON, || async { (api.get(&path).await.status == 200).then_some(()) })
    }));
    tokio::join!(answers, async {
        eventually("each request has a connection", sample::SOON, || async {
            (server.sessions_that_wait_for_a_table().await >= ASKED).then_some(())
        })
        .await;
        sqlx::raw_sql("unlock tables").execute(&mut *holder).await.unwrap();
    });

    eventually("they are closed", sample::SOON, || async {
        (server.connections().await.len() <= few + 1).then_some(())
    })
    .await;
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
    eventually("an order is refused", sample::SOON, || async {
        let reply = scene.api.post("/order/create-order", &sample::order().to_string()).await;
        (reply.status == 503).then_some(())
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

    eventually("a list gets a connection, and until then is told to come again", sample::SOON, || async {
        let reply = scene.api.get("/order/status/completed").await;
        (reply.status == 200 || reply.assert_problem(503).is_null()).then_some(())
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
        eventually("some are completed meanwhile", sample::SOON, || async {
            (database.orders_in("COMPLETED").await > completed).then_some(())
        })
        .await;
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
        eventually("it works at full load", sample::SOON, || async {
            (busy.counter("orders_worker_slots_busy").await > 7.5).then_some(())
        })
        .await;
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

    let rescues: u8 = sqlx::query_scalar("select max(rescues) from orders").fetch_one(&database.pool).await.unwrap();
    assert_eq!(rescues, 0);
}

async fn place_and_wait_until_claimed(database: &Database, api: &Api, orders: usize) -> Vec<Uuid> {
    let before = database.orders_in("PROCESSING").await;
    let mut placed = Vec::new();
    for _ in 0..orders {
        placed.push(api.place(&sample::order()).await);
    }
    eventually("they are claimed", sample::SOON, || async {
        (database.orders_in("PROCESSING").await == before + i64::try_from(orders).unwrap()).then_some(())
    })
    .await;
    placed
}

async fn rescues(database: &Database, orders: &[Uuid]) -> Vec<u8> {
    let mut rescues = Vec::new();
    for order_id in orders {
        let one = sqlx::query_scalar("select rescues from orders where order_id = ?").bind(order_id);
        rescues.push(one.fetch_one(&database.pool).await.unwrap());
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
