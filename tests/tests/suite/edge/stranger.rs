//! One stranger who does at once all that has ever hurt the programs, and what others notice of it.

use std::time::{Duration, Instant};

use orders_bench::stranger::{Stranger, Targets};
use orders_tests::{Api, OwnServer, System, Worker, assert_counts_are_exact, eventually};
use reqwest::Client;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::memory::MEMORY_MAX;
use crate::rows::heavy_orders;
use crate::sample;

/// How long the stranger is at it.
const LASTS: Duration = Duration::from_secs(30);

/// The API may log ten lines a second of each of three kinds: 500s, other failures and slow requests, and requests turned
/// away.
const LOG_LINES_MAX: usize = 3 * 10 * 31;

/// How long after the stranger has gone all must be well.
const WELL_WITHIN: Duration = Duration::from_secs(10);

/// The rate stays the same whatever becomes of earlier creates.
const BETWEEN_CREATES: Duration = Duration::from_millis(50);

/// One create in so many comes over a connection of its own; the others share a few.
const FRESH_EVERY: usize = 4;

/// What the stranger reads: 7 MiB.
const HEAVY_ORDERS: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_stranger_every_order_is_placed_and_all_is_well_ten_seconds_later() {
    // The programs inherit the limit.
    sample::allow_many_connections();
    let server = OwnServer::start(&["--max-connect-errors=10"]).await;
    heavy_orders(&server, HEAVY_ORDERS).await;
    // Counts the orders that were inserted past the API.
    server.migrate().await;
    let system = System::on(server, &[]).await;
    let worker = system.start_worker(&[]).await;
    let mut later = sample::order();
    later["process_after"] = json!("2999-12-31T23:59:59Z");
    let targets = Targets { api: system.api.address(), worker: worker.address(), waiting: system.place(&later).await };

    let stranger = Stranger::start(targets, LASTS).unwrap();
    let creates = Creates::during(LASTS, &system).await;
    let attacks = stranger.stop();
    let gone = Instant::now();

    let worst = creates.worst;
    assert!(creates.failed.is_empty(), "worst {worst:?}, {attacks:?}, failed: {:#?}", creates.failed);
    let peak = system.api.memory_peak();
    assert!(peak < MEMORY_MAX, "{} MiB; worst create {worst:?}, {attacks:?}", peak >> 20);
    assert!(attacks.iter().all(|(_, turns)| *turns > 0), "a stranger without teeth: {attacks:?}");
    let lines = system.api.logs().lines().count();
    assert!(lines < LOG_LINES_MAX, "{lines} lines in the log: {attacks:?}");
    // The server takes new connections from this host.
    system.database.kill_connections(|| true).await;
    wait_until_all_is_well(&system.database, &system, &worker, gone + WELL_WITHIN).await;
    system.end().await;
}

/// What became of orders that were placed steadily.
struct Creates {
    worst: Duration,
    /// When each failure happened, and how.
    failed: Vec<String>,
}

impl Creates {
    async fn during(time: Duration, api: &Api) -> Self {
        let mut creates = JoinSet::new();
        let mut ticks = interval(BETWEEN_CREATES);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let start = Instant::now();
        for number in 0.. {
            let due = ticks.tick().await.into_std();
            if start.elapsed() > time {
                break;
            }
            let client = if number % FRESH_EVERY == 0 { fresh_client() } else { api.client().clone() };
            let request = client.post(api.url("/order/create-order")).json(&sample::order()).send();
            creates.spawn(async move {
                let failure = match request.await {
                    Ok(reply) if reply.status() == 201 => None,
                    Ok(reply) => Some(format!("{}: {:?}", reply.status(), reply.text().await)),
                    Err(error) => Some(format!("{error:?}")),
                };
                (due.elapsed(), failure.map(|failure| format!("at {:?}: {failure}", due - start)))
            });
        }
        let (latencies, failures): (Vec<_>, Vec<_>) = creates.join_all().await.into_iter().unzip();
        let worst = latencies.into_iter().max().unwrap_or_default();
        Self { worst, failed: failures.into_iter().flatten().collect() }
    }
}

fn fresh_client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

/// Both programs are ready, orders are taken and completed, lists are answered, and nothing is left over.
async fn wait_until_all_is_well(server: &OwnServer, api: &Api, worker: &Worker, by: Instant) {
    let left = || by.saturating_duration_since(Instant::now());
    let order_id = eventually("an order is taken", left(), || async {
        let reply = api.post("/order/create-order", &sample::order().to_string()).await;
        (reply.status == 201).then(|| sample::id(&reply.json()["data"]))
    })
    .await;
    for program in [&**api, &**worker] {
        eventually("both are ready", left(), || async { (program.get("/readyz").await.status == 200).then_some(()) })
            .await;
    }
    for path in ["/queue", "/metrics", "/orders?limit=200", "/order/status/completed?limit=1000"] {
        eventually(path, left(), || async { (api.get(path).await.status == 200).then_some(()) }).await;
    }
    // All but the one that the stranger waited for.
    eventually("all orders are completed", left(), || async { (server.open_orders().await == 1).then_some(()) }).await;
    assert_eq!(server.state(order_id).await.0, "COMPLETED");
    assert_counts_are_exact(&server.pool).await;
}
