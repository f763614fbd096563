//! The order of the documentation's example, and what happens to it.

use std::time::Duration;

use orders_tests::{Api, Database, OwnServer, Program, Reply, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use uuid::Uuid;

/// A second on a quiet machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

pub(crate) fn order() -> Value {
    order_of(1)
}

pub(crate) fn order_of(user_id: i64) -> Value {
    json!({"user_id": user_id, "item_ids": [1, 2], "total_amount": 100.0})
}

/// Posts JSON text to a path under an idempotency key.
pub(crate) async fn post_with_key(api: &Api, path: &str, key: &str, json: &str) -> Reply {
    let request = api.client().post(api.url(path)).header("content-type", "application/json");
    api.send(request.header("idempotency-key", key).body(json.to_owned())).await
}

/// The id of the order that an answer is.
pub(crate) fn id(order: &Value) -> Uuid {
    let id = order["order_id"].as_str().unwrap_or_else(|| panic!("no order: {order}"));
    id.parse().expect("an order id is a UUID")
}

/// Each request has a connection, and thus a descriptor, in this process and in the API, which inherits the limit.
pub(crate) fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// Waits until a program that has just been launched is ready.
pub(crate) async fn wait_until_up(program: &Program) {
    eventually("it is ready", SOON, || {
        assert!(program.ended().is_none(), "{}", program.logs());
        let request = program.client().get(program.url("/readyz")).send();
        async move { request.await.ok().filter(|reply| reply.status() == 200) }
    })
    .await;
}

/// The story of an order, oldest first.
pub(crate) async fn events(api: &Api, order_id: Uuid) -> Vec<Value> {
    let reply = api.get(&format!("/orders/{order_id}/events")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["events"].as_array().expect("events are an array").clone()
}

/// What happened, in one word each.
pub(crate) fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().expect("an event has a name")).collect()
}

/// Why an order is where it is.
pub(crate) async fn why(api: &Api, order_id: Uuid) -> Value {
    let reply = api.get(&format!("/orders/{order_id}/why")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.json()["reason"].as_str().is_some_and(|reason| reason.len() > 5), "{reply:?}");
    reply.json()
}

/// Waits until the API tells `status` of an order, and returns the order.
pub(crate) async fn wait_for_status(api: &Api, order_id: Uuid, status: &str) -> Value {
    eventually(&format!("the order is {status}"), SOON, || async {
        let order = api.get(&format!("/orders/{order_id}")).await.json();
        (order["status"] == status).then_some(order)
    })
    .await
}

/// Waits until more orders are completed than now: the system works.
pub(crate) async fn wait_until_more_are_completed(database: &Database) {
    let before = database.orders_in("COMPLETED").await;
    eventually("orders are completed", SOON, || async {
        (database.orders_in("COMPLETED").await > before + 20).then_some(())
    })
    .await;
}

/// Waits until the table tells `status` of an order.
pub(crate) async fn wait_until_stored_as(database: &Database, order_id: Uuid, status: &str) {
    eventually(&format!("the order is {status}"), SOON, || async {
        (database.state(order_id).await.0 == status).then_some(())
    })
    .await;
}

/// Waits until every order has reached an end, as long as their number goes down.
pub(crate) async fn wait_until_none_is_open(database: &Database) {
    let mut least = i64::MAX;
    while least > 0 {
        least = eventually(&format!("fewer than {least} orders are open"), SOON, || async {
            let open = database.open_orders().await;
            (open < least).then_some(open)
        })
        .await;
    }
}

/// What the server, which has nothing else to do, reads during a request.
pub(crate) async fn reads_of(server: &Database, request: impl Future<Output = ()>) -> u64 {
    // Each probe reads something too.
    let (start, before) = (reads(server).await, reads(server).await);
    request.await;
    (reads(server).await - before).saturating_sub(before - start)
}

async fn reads(server: &Database) -> u64 {
    let counters = sqlx::query_as(r"show global status like 'handler\_read\_%'").fetch_all(&server.pool);
    let counters: Vec<(String, String)> = counters.await.unwrap();
    counters.iter().map(|(_, count)| count.parse::<u64>().unwrap()).sum()
}

/// Statements that the server has carried out.
pub(crate) async fn statements(server: &OwnServer) -> u64 {
    let (_, count): (String, String) =
        sqlx::query_as("show global status like 'Questions'").fetch_one(&server.pool).await.unwrap();
    count.parse().unwrap()
}
