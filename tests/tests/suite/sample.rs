//! The order of the documentation's example, and what a server has done.

use orders_tests::{Database, OwnServer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) fn order() -> Value {
    order_of(1)
}

pub(crate) fn order_of(user_id: i64) -> Value {
    json!({"user_id": user_id, "item_ids": [1, 2], "total_amount": 100.0})
}

/// The id of an order in an answer's body.
pub(crate) fn id(order: &Value) -> Uuid {
    let id = order["order_id"].as_str().unwrap_or_else(|| panic!("no order: {order}"));
    id.parse().expect("an order id is a UUID")
}

/// Each request has a connection, and thus a descriptor, in this process and in the API, which inherits the limit.
pub(crate) fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
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

/// How many statements the server has carried out so far.
pub(crate) async fn statements(server: &OwnServer) -> u64 {
    let (_, count): (String, String) =
        sqlx::query_as("show global status like 'Questions'").fetch_one(&server.pool).await.unwrap();
    count.parse().unwrap()
}
