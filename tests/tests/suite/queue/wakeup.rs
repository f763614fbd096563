//! Wake-ups: one makes an idle worker claim at once, and nothing depends on it.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use orders_tests::{Api, Database, OwnServer, SOON, System, Worker, database, eventually, wait_until};
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::sample;

/// Within a test the worker polls once, unless a notification wakes it.
const POLLS_SELDOM: (&str, &str) = ("WORKER_POLL_MS", "60000");

/// Half of the time to the next poll: an order claimed within it was not found by polling.
const BEFORE_THE_NEXT_POLL: Duration = Duration::from_secs(30);

/// The API refreshes its list of addresses once a second; the rest is for a loaded machine.
const NOTIFIED_WITHIN: Duration = Duration::from_secs(30);

/// A socket that takes whatever the test sends from it.
const ANYWHERE: &str = "127.0.0.1:0";

#[tokio::test(flavor = "multi_thread")]
async fn orders_placed_one_by_one_are_claimed_long_before_the_next_poll() {
    let system = System::start().await;
    let worker = system.start_worker(&[POLLS_SELDOM]).await;
    wait_until_notifiable(&system).await;

    for _ in 0..30 {
        let order_id = system.place(&sample::order()).await;
        wait_until_completed(&system.database, order_id).await;
    }

    let slowest = "select cast(max(timestampdiff(microsecond, created_at, claimed_at)) as signed) from orders";
    let slowest: i64 = system.database.scalar(slowest).await;
    assert!(Duration::from_micros(slowest.unsigned_abs()) < BEFORE_THE_NEXT_POLL, "{slowest} µs");
    assert!(worker.counter("orders_worker_wakeups_total").await > 0.0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_and_a_resume_wake_an_idle_worker() {
    let system = System::start().await;
    let worker = system.start_worker(&[POLLS_SELDOM, ("SIMULATED_FAULTS", "reject=1")]).await;
    wait_until_notifiable(&system).await;
    assert_eq!(system.post("/queue/pause", "").await.status, 200);
    let order_id = system.place(&sample::order()).await;
    eventually("the worker heard of the order", BEFORE_THE_NEXT_POLL, || async {
        (worker.counter("orders_worker_wakeups_total").await > 0.0).then_some(())
    })
    .await;

    assert_eq!(system.post("/queue/resume", "").await.status, 200);
    wait_for_failures(&system, order_id, 1).await;
    assert_eq!(system.post(&format!("/orders/{order_id}/retry"), "").await.status, 200);
    wait_for_failures(&system, order_id, 2).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_found_by_polling_where_a_worker_advertises_no_address() {
    for advertised in [None, Some("no address")] {
        let database = database().await;
        let worker = Worker::start(&database.url, &[]).await;
        advertise(&database, advertised).await;
        let system = System::on(database, &[]).await;

        let order_id = system.place(&sample::order()).await;

        system.database.wait_for_status(order_id, "COMPLETED").await;
        assert!(worker.counter("orders_worker_wakeups_total").await < 1.0, "{advertised:?}");
        assert!(system.api.counter("orders_workers_with_wakeup").await < 1.0, "{advertised:?}");
        system.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_found_by_polling_where_the_notification_goes_astray() {
    let database = database().await;
    let worker = Worker::start(&database.url, &[]).await;
    let elsewhere = UdpSocket::bind(ANYWHERE).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    advertise(&database, Some(&elsewhere.local_addr().unwrap().to_string())).await;
    let system = System::on(database, &[]).await;
    wait_until_notifiable(&system).await;

    let order_id = system.place(&sample::order()).await;

    system.database.wait_for_status(order_id, "COMPLETED").await;
    eventually("the notification comes elsewhere", NOTIFIED_WITHIN, || async { elsewhere.recv(&mut [0; 64]).ok() })
        .await;
    assert!(worker.counter("orders_worker_wakeups_total").await < 1.0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_notifications_makes_an_idle_worker_claim_20_times_a_second_at_most() {
    const ASKED: u32 = 300;
    let server = OwnServer::start(&[]).await;
    let worker = Worker::start(&server.url, &[]).await;
    let flood = Flood::start(wait_for_advertised_address(&server).await);
    wait_until("the flood is heard", async || worker.counter("orders_worker_wakeups_total").await > 5.0).await;

    let (start, before) = (Instant::now(), sample::statements(&server).await);
    let mut own = 0;
    eventually("the worker has asked often", SOON, || {
        // Each probe is a statement itself.
        own += 1;
        let (server, enough) = (&server, before + own + u64::from(ASKED));
        async move { (sample::statements(server).await >= enough).then_some(()) }
    })
    .await;

    // A claim that finds nothing is three statements; the heartbeats are a few.
    let rate = f64::from(ASKED) / start.elapsed().as_secs_f64();
    assert!(rate <= 75.0, "{rate} statements a second");
    drop(flood);
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_any_kind_harm_nothing() {
    let system = System::start().await;
    let worker = system.start_worker(&[POLLS_SELDOM]).await;
    wait_until_notifiable(&system).await;
    let (stranger, worker_address) =
        (UdpSocket::bind(ANYWHERE).unwrap(), wait_for_advertised_address(&system.database).await);

    for length in [0, 1, 4, 1_400, 9_000, 65_507] {
        for filled_with in [0, b'r', 0xff] {
            stranger.send_to(&vec![filled_with; length], worker_address).unwrap();
        }
    }
    let order_id = system.place(&sample::order()).await;

    wait_until_completed(&system.database, order_id).await;
    assert_eq!(worker.get("/readyz").await.status, 200);
    assert!(!worker.logs().contains("ERROR"), "{}", worker.logs());
    system.end().await;
}

/// Sends datagrams until it is dropped.
struct Flood(AbortHandle);

impl Flood {
    fn start(worker: SocketAddr) -> Self {
        let socket = UdpSocket::bind(ANYWHERE).unwrap();
        let mut wave = tokio::time::interval(Duration::from_millis(1));
        Self(
            tokio::spawn(async move {
                loop {
                    wave.tick().await;
                    for _ in 0..20 {
                        // The kernel drops what the worker's socket has no room for.
                        let _ = socket.send_to(b"flood", worker);
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

/// Waits until the API knows a worker that it can notify.
async fn wait_until_notifiable(api: &Api) {
    eventually("the API can notify a worker", NOTIFIED_WITHIN, || async {
        (api.counter("orders_workers_with_wakeup").await > 0.0).then_some(())
    })
    .await;
}

async fn wait_until_completed(database: &Database, order_id: Uuid) {
    eventually("the order is COMPLETED", BEFORE_THE_NEXT_POLL, || async {
        (database.state(order_id).await.0 == "COMPLETED").then_some(())
    })
    .await;
}

/// Waits until the order's story tells of so many failures.
async fn wait_for_failures(api: &Api, order_id: Uuid, times: usize) {
    eventually(&format!("the order failed {times} times"), BEFORE_THE_NEXT_POLL, || async {
        let failures = api.story(order_id).await.into_iter().filter(|event| event == "failed");
        (failures.count() == times).then_some(())
    })
    .await;
}

/// Waits until the only worker advertises an address for notifications, and returns it.
async fn wait_for_advertised_address(database: &Database) -> SocketAddr {
    let address = eventually("the worker registers", SOON, || async {
        let address: Option<Option<String>> =
            sqlx::query_scalar("select wakeup_address from workers").fetch_optional(&database.pool).await.unwrap();
        address.flatten()
    })
    .await;
    address.parse().unwrap()
}

/// Replaces the address that the only worker advertises.
async fn advertise(database: &Database, address: Option<&str>) {
    wait_for_advertised_address(database).await;
    sqlx::query("update workers set wakeup_address = ?").bind(address).execute(&database.pool).await.unwrap();
}
