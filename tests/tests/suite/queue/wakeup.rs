//! The bell: a ring makes an idle worker look at once, and nothing depends on it.

use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use orders_tests::{Api, Database, OwnServer, Worker, database, eventually};
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::sample;

/// The worker's first look is its last one within a test, but for those that rings cause.
const LOOKS_SELDOM: (&str, &str) = ("WORKER_POLL_MS", "60000");

/// Half of the time to the next look: what is claimed by then was not found by looking.
const BEFORE_THE_NEXT_LOOK: Duration = Duration::from_secs(30);

/// Longer than the API keeps a list of bells, by as much as a loaded machine may need.
const RUNG_WITHIN: Duration = Duration::from_secs(30);

/// A socket that takes whatever the test sends from it.
const ANYWHERE: &str = "127.0.0.1:0";

#[tokio::test(flavor = "multi_thread")]
async fn orders_placed_one_by_one_are_claimed_long_before_the_next_look() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, &[LOOKS_SELDOM]).await;
    knows_a_bell(&api).await;

    for _ in 0..30 {
        let order_id = api.place(&sample::order()).await;
        is_completed_soon(&database, order_id).await;
    }

    let slowest = "select cast(max(timestampdiff(microsecond, created_at, claimed_at)) as signed) from orders";
    let slowest: i64 = sqlx::query_scalar(slowest).fetch_one(&database.pool).await.unwrap();
    assert!(Duration::from_micros(slowest.unsigned_abs()) < BEFORE_THE_NEXT_LOOK, "{slowest} µs");
    assert!(worker.counter("orders_worker_wakeups_total").await > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_and_a_resume_wake_an_idle_worker() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, &[LOOKS_SELDOM, ("SIMULATED_FAULTS", "reject=1")]).await;
    knows_a_bell(&api).await;
    assert_eq!(api.post("/queue/pause", "").await.status, 200);
    let order_id = api.place(&sample::order()).await;
    eventually("the worker heard of the order", BEFORE_THE_NEXT_LOOK, || async {
        (worker.counter("orders_worker_wakeups_total").await > 0.0).then_some(())
    })
    .await;

    assert_eq!(api.post("/queue/resume", "").await.status, 200);
    fails(&api, order_id, 1).await;
    assert_eq!(api.post(&format!("/orders/{order_id}/retry"), "").await.status, 200);
    fails(&api, order_id, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_found_by_looking_where_a_worker_has_no_bell() {
    for bell in [None, Some("no address")] {
        let database = database().await;
        let worker = Worker::start(&database.url, &[]).await;
        hangs(&database, bell).await;
        let api = Api::start(&database.url, &[]).await;

        let order_id = api.place(&sample::order()).await;

        sample::is_stored_as(&database, order_id, "COMPLETED").await;
        assert!(worker.counter("orders_worker_wakeups_total").await < 1.0, "{bell:?}");
        assert!(api.counter("orders_workers_with_wakeup").await < 1.0, "{bell:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_found_by_looking_where_the_ring_goes_astray() {
    let database = database().await;
    let worker = Worker::start(&database.url, &[]).await;
    let elsewhere = UdpSocket::bind(ANYWHERE).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    hangs(&database, Some(&elsewhere.local_addr().unwrap().to_string())).await;
    let api = Api::start(&database.url, &[]).await;
    knows_a_bell(&api).await;

    let order_id = api.place(&sample::order()).await;

    sample::is_stored_as(&database, order_id, "COMPLETED").await;
    eventually("the ring comes elsewhere", RUNG_WITHIN, || async { elsewhere.recv(&mut [0; 64]).ok() }).await;
    assert!(worker.counter("orders_worker_wakeups_total").await < 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_rings_makes_an_idle_worker_claim_20_times_a_second_at_most() {
    const ASKED: f64 = 300.0;
    let server = OwnServer::start(&[]).await;
    let worker = Worker::start(&server.url, &[]).await;
    let flood = Flood::start(bell(&server).await);
    eventually("the flood is heard", sample::SOON, || async {
        (worker.counter("orders_worker_wakeups_total").await > 5.0).then_some(())
    })
    .await;

    let (start, before) = (Instant::now(), statements(&server).await);
    let looks = Cell::new(0.0);
    eventually("the worker has asked often", sample::SOON, || {
        // To look is a statement itself.
        looks.set(looks.get() + 1.0);
        let (server, own) = (&server, looks.get());
        async move { (statements(server).await - before - own >= ASKED).then_some(()) }
    })
    .await;

    // A claim that finds nothing is three statements; the heartbeats are a few.
    let rate = ASKED / start.elapsed().as_secs_f64();
    assert!(rate <= 75.0, "{rate} statements a second");
    drop(flood);
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_any_kind_harm_nothing() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, &[LOOKS_SELDOM]).await;
    knows_a_bell(&api).await;
    let (stranger, bell) = (UdpSocket::bind(ANYWHERE).unwrap(), bell(&database).await);

    for length in [0, 1, 4, 1_400, 9_000, 65_507] {
        for filled_with in [0, b'r', 0xff] {
            stranger.send_to(&vec![filled_with; length], bell).unwrap();
        }
    }
    let order_id = api.place(&sample::order()).await;

    is_completed_soon(&database, order_id).await;
    assert_eq!(worker.get("/readyz").await.status, 200);
    assert!(!worker.logs().contains("ERROR"), "{}", worker.logs());
}

/// Datagrams without end, until dropped.
struct Flood(AbortHandle);

impl Flood {
    fn start(bell: SocketAddr) -> Self {
        let socket = UdpSocket::bind(ANYWHERE).unwrap();
        let mut wave = tokio::time::interval(Duration::from_millis(1));
        Self(
            tokio::spawn(async move {
                loop {
                    wave.tick().await;
                    for _ in 0..20 {
                        // What the worker has no room for is lost.
                        let _ = socket.send_to(b"ring", bell);
                    }
                }
            })
            .abort_handle(),
        )
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until the API knows of a worker that it can ring.
async fn knows_a_bell(api: &Api) {
    eventually("the API knows a bell", RUNG_WITHIN, || async {
        (api.counter("orders_workers_with_wakeup").await > 0.0).then_some(())
    })
    .await;
}

async fn is_completed_soon(database: &Database, order_id: Uuid) {
    eventually("the order is COMPLETED", BEFORE_THE_NEXT_LOOK, || async {
        (database.state(order_id).await.0 == "COMPLETED").then_some(())
    })
    .await;
}

/// Waits until the order's story tells of so many failures.
async fn fails(api: &Api, order_id: Uuid, times: usize) {
    eventually(&format!("the order failed {times} times"), BEFORE_THE_NEXT_LOOK, || async {
        let story = sample::events(api, order_id).await;
        (sample::names(&story).iter().filter(|&&name| name == "failed").count() == times).then_some(())
    })
    .await;
}

/// The bell of the only worker, once it has one.
async fn bell(database: &Database) -> SocketAddr {
    let bell = eventually("the worker registers", sample::SOON, || async {
        let bell: Option<Option<String>> =
            sqlx::query_scalar("select wakeup_address from workers").fetch_optional(&database.pool).await.unwrap();
        bell.flatten()
    })
    .await;
    bell.parse().unwrap()
}

/// Hangs the bell of the only worker elsewhere.
async fn hangs(database: &Database, elsewhere: Option<&str>) {
    bell(database).await;
    sqlx::query("update workers set wakeup_address = ?").bind(elsewhere).execute(&database.pool).await.unwrap();
}

/// What the server was asked so far.
async fn statements(server: &OwnServer) -> f64 {
    let (_, count): (String, String) =
        sqlx::query_as("show global status like 'Questions'").fetch_one(&server.pool).await.unwrap();
    count.parse().unwrap()
}
