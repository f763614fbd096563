//! The way to the server: addresses that are not loopback, limits of the account and of the server, variables that
//! sessions inherit, servers that only read, and clocks that are set.

mod account;
mod ahead_of_clock;
mod demoted;
mod full;
mod getting_in;
mod inherited;
mod locked;
mod packets;
mod plugins;
mod server_clock;
mod shut_out;
mod tls;

use std::time::Duration;

use orders_tests::{Api, Reply, Worker, eventually, run};
use uuid::Uuid;

use crate::sample;

/// Soon after the server works again.
const RECOVERED_WITHIN: Duration = Duration::from_secs(10);

/// Waits until the API takes an order, and returns its id.
async fn wait_until_an_order_is_taken(api: &Api) -> Uuid {
    eventually("an order is taken", RECOVERED_WITHIN, || async {
        let reply = api.post("/order/create-order", &sample::order().to_string()).await;
        (reply.status == 201).then(|| sample::id(&reply.json()["data"]))
    })
    .await
}

/// Places an order and waits until a worker has completed it.
async fn wait_until_an_order_is_completed(api: &Api) -> Uuid {
    let placed = wait_until_an_order_is_taken(api).await;
    api.wait_for_status(placed, "COMPLETED").await;
    placed
}

async fn wait_for_readiness(status: u16, api: &Api, worker: &Worker) {
    eventually(&format!("both programs answer /readyz with {status}"), RECOVERED_WITHIN, || async {
        let (api, worker) = tokio::join!(api.get("/readyz"), worker.get("/readyz"));
        (api.status == status && worker.status == status).then_some(())
    })
    .await;
}

/// The answer tells clients to come again.
fn assert_comes_again(reply: &Reply) {
    let _ = reply.assert_problem(503);
    assert!(reply.header("retry-after").is_some(), "{reply:?}");
}

/// What `orders-api doctor` says of a database, and its exit code.
async fn doctor(url: &str) -> (Option<i32>, String) {
    let output = run("orders-api", &["doctor"], &[("DATABASE_URL", url)]).await;
    let text = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    (output.status.code(), text)
}
