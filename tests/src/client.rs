//! What the API's clients do.

use serde_json::Value;
use uuid::Uuid;

use crate::eventually::{SOON, eventually};
use crate::program::Api;
use crate::reply::Reply;

impl Api {
    /// Places an order and returns its id.
    pub async fn place(&self, order: &Value) -> Uuid {
        self.place_text(&order.to_string()).await
    }

    /// Places an order given as JSON text and returns its id.
    pub async fn place_text(&self, order: &str) -> Uuid {
        let reply = self.post("/order/create-order", order).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        order_id(&reply)
    }

    /// Places an order as soon as the API takes it, however often it refuses it before, and returns its id.
    pub async fn place_when_possible(&self, order: &Value) -> Uuid {
        eventually("orders are taken again", SOON, || async {
            let reply = self.post("/order/create-order", &order.to_string()).await;
            (reply.status == 201).then(|| order_id(&reply))
        })
        .await
    }

    /// Posts JSON text to a path under an idempotency key.
    pub async fn post_with_key(&self, path: &str, key: &str, json: &str) -> Reply {
        let request = self.client().post(self.url(path)).header("content-type", "application/json");
        self.send(request.header("idempotency-key", key).body(json.to_owned())).await
    }

    /// What a path shows, which must be there.
    pub async fn show(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    /// An order as it is now.
    pub async fn order(&self, order_id: Uuid) -> Value {
        self.show(&format!("/orders/{order_id}")).await
    }

    /// Waits until an order is in `status`, and returns the order.
    pub async fn wait_for_status(&self, order_id: Uuid, status: &str) -> Value {
        eventually(&format!("the order is {status}"), SOON, || async {
            let order = self.get(&format!("/orders/{order_id}")).await.json();
            (order["status"] == status).then_some(order)
        })
        .await
    }

    /// Why an order is where it is.
    pub async fn why(&self, order_id: Uuid) -> Value {
        let why = self.show(&format!("/orders/{order_id}/why")).await;
        assert!(why["reason"].as_str().is_some_and(|reason| reason.len() > 5), "{why}");
        why
    }

    /// What happened to an order, oldest first.
    pub async fn events(&self, order_id: Uuid) -> Vec<Value> {
        let events = self.show(&format!("/orders/{order_id}/events")).await;
        events["events"].as_array().expect("events are an array").clone()
    }

    /// The names of an order's events, oldest first.
    pub async fn story(&self, order_id: Uuid) -> Vec<String> {
        let name = |event: &Value| event["event"].as_str().expect("an event has a name").to_owned();
        self.events(order_id).await.iter().map(name).collect()
    }
}

fn order_id(reply: &Reply) -> Uuid {
    let body = reply.json();
    let id = body["data"]["order_id"].as_str().unwrap_or_else(|| panic!("no order id in {reply:?}"));
    id.parse().expect("an order id is a UUID")
}
