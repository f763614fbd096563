//! The order of the documentation's example, and what happens to it.

use std::time::Duration;

use orders_tests::{Api, Database, eventually};
use serde_json::{Value, json};
use uuid::Uuid;

/// A second on a quiet machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

pub(crate) fn order() -> Value {
    json!({"user_id": 1, "item_ids": [1, 2], "total_amount": 100.0})
}

/// Waits until the API tells `status` of an order, and returns the order.
pub(crate) async fn becomes(api: &Api, order_id: Uuid, status: &str) -> Value {
    eventually(&format!("the order is {status}"), SOON, || async {
        let order = api.get(&format!("/orders/{order_id}")).await.json();
        (order["status"] == status).then_some(order)
    })
    .await
}

/// Waits until the table tells `status` of an order.
pub(crate) async fn is_stored_as(database: &Database, order_id: Uuid, status: &str) {
    eventually(&format!("the order is {status}"), SOON, || async {
        (database.state(order_id).await.0 == status).then_some(())
    })
    .await;
}
