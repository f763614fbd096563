//! Many orders at once: all of them or none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use orders_tests::{Database, System, wait_until};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_500_is_placed_whole_and_answered_in_its_order() {
    let system = System::start().await;
    let users: Vec<i64> = (1..=500).collect();

    let reply = system.post("/orders/batch", &batch(users.iter().map(|user_id| sample::order_of(*user_id)))).await;

    assert_eq!(reply.status, 201, "{}", reply.text);
    let placed = reply.json()["orders"].as_array().unwrap().clone();
    assert_eq!(placed.iter().map(|order| order["user_id"].as_i64().unwrap()).collect::<Vec<_>>(), users);
    assert_eq!(system.database.orders().await, 500);
    for order in [&placed[0], &placed[250], &placed[499]] {
        assert_eq!(&system.get(&format!("/orders/{}", sample::id(order))).await.json(), order);
    }
    let newest = system.get("/orders?limit=200").await.json();
    let last: Vec<Value> = placed.iter().rev().take(200).cloned().collect();
    assert_eq!(newest["orders"].as_array().unwrap(), &last);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_1_to_500_orders() {
    let system = System::start().await;

    for (orders, code) in [(0, "too_few"), (501, "too_many")] {
        let reply = system.post("/orders/batch", &batch((0..orders).map(|_| sample::order()))).await;

        assert_eq!(reply.faults(422), [("/orders".to_owned(), code.to_owned())]);
    }
    for (body, code) in
        [("{}", "missing"), (r#"{"orders": {}}"#, "not_an_array"), (r#"{"orders": null}"#, "not_an_array")]
    {
        let reply = system.post("/orders/batch", body).await;

        assert_eq!(reply.faults(422), [("/orders".to_owned(), code.to_owned())]);
    }
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_bad_orders_places_nothing_and_names_each_fault() {
    let system = System::start().await;
    let bad = json!({"user_id": 1, "item_ids": [], "total_amount": -1, "note": "extra"});
    let orders = [sample::order(), bad, sample::order(), sample::order_of(0), json!(7)];

    let mut named = system.post("/orders/batch", &batch(orders)).await.faults(422);

    named.sort();
    let expected = [
        ("/orders/1/item_ids", "too_few"),
        ("/orders/1/note", "unknown"),
        ("/orders/1/total_amount", "too_small"),
        ("/orders/3/user_id", "too_small"),
        ("/orders/4", "not_an_object"),
    ];
    assert_eq!(named, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_there_whole_or_not_at_all_when_its_api_is_killed() {
    const ORDERS: i64 = 40;
    const CLIENTS: usize = 6;
    let system = System::start().await;
    let number = Arc::new(AtomicI64::new(0));

    let mut accepted = Vec::new();
    for _ in 0..3 {
        let api = system.start_api(&[]).await;
        let before = system.database.orders().await;
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(place_batches(api.url("/orders/batch"), ORDERS, Arc::clone(&number)));
        }
        wait_until("batches are placed", async || system.database.orders().await > before + 10 * ORDERS).await;
        api.kill();
        accepted.extend(clients.join_all().await.into_iter().flatten());
    }

    // The server may still carry out what the last API sent, but it does so in one transaction.
    let stored = sizes(&system.database).await;
    assert!(stored.values().all(|orders| *orders == ORDERS), "{stored:?}");
    assert!(accepted.iter().all(|number| stored.contains_key(number)), "{accepted:?} {stored:?}");
    assert!(accepted.len() >= 3 * 5, "the APIs were killed before they did anything: {accepted:?}");
    system.end().await;
}

/// Places batches, each for a user of its own, until the API is gone; returns the users whose batch was accepted.
async fn place_batches(url: String, orders: i64, number: Arc<AtomicI64>) -> Vec<i64> {
    let client = Client::builder().no_proxy().build().unwrap();
    let mut accepted = Vec::new();
    loop {
        let user_id = number.fetch_add(1, Ordering::SeqCst) + 1;
        let body = json!({"orders": (0..orders).map(|_| sample::order_of(user_id)).collect::<Value>()});
        let Ok(response) = client.post(&url).json(&body).send().await else { return accepted };
        assert_eq!(response.status(), 201);
        accepted.push(user_id);
    }
}

/// How many orders each user has, at one moment.
async fn sizes(database: &Database) -> BTreeMap<i64, i64> {
    let sizes = sqlx::query_as("select user_id, count(*) from orders group by user_id").fetch_all(&database.pool);
    let sizes: Vec<(i64, i64)> = sizes.await.unwrap();
    sizes.into_iter().collect()
}

fn batch(orders: impl IntoIterator<Item = Value>) -> String {
    json!({"orders": orders.into_iter().collect::<Value>()}).to_string()
}
