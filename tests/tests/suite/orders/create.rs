//! Placing an order and reading it back.

use chrono::{DateTime, FixedOffset};
use orders_tests::System;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_placed_order_is_stored_as_pending_and_can_be_read() {
    let system = System::start().await;

    let reply =
        system.post("/order/create-order", r#"{"user_id": 3, "item_ids": [4, 6], "total_amount": 220099.0}"#).await;

    assert_eq!(reply.status, 201, "{reply:?}");
    let body = reply.json();
    let order_id: Uuid = body["data"]["order_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(body, json!({"status": 201, "data": {"order_id": order_id.to_string()}}));
    assert_eq!(system.database.state(order_id).await, ("PENDING".to_owned(), 0));
    let order = system.order(order_id).await;
    assert_eq!(order["order_id"], order_id.to_string());
    assert_eq!(order["user_id"], 3);
    assert_eq!(order["item_ids"], json!([4, 6]));
    assert_eq!(order["status"], "PENDING");
    assert_eq!(order["attempt"], 0);
    assert_eq!((&order["claimed_at"], &order["completed_at"]), (&Value::Null, &Value::Null));
    for time in ["available_at", "created_at", "updated_at"] {
        assert_eq!(utc(&order[time]).offset().local_minus_utc(), 0, "{time}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_come_back_digit_by_digit() {
    let system = System::start().await;

    for (sent, stored) in [
        ("0.1", "0.1000"),
        ("100.0", "100.0000"),
        ("220099.0", "220099.0000"),
        ("12345678901234.5678", "12345678901234.5678"),
    ] {
        let text = format!(r#"{{"user_id": 1, "item_ids": [1], "total_amount": {sent}}}"#);
        let order_id = system.place_text(&text).await;

        let order = system.get(&format!("/orders/{order_id}")).await;
        let list = system.get("/order/status/PENDING?limit=1").await;
        let amount: String = system.database.column(order_id, "cast(total_amount as char)").await;

        assert_eq!(order.amounts(), [sent]);
        assert_eq!(list.amounts(), [sent]);
        assert_eq!(amount, stored);
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_themselves_are_accepted() {
    let system = System::start().await;
    let items = vec![i64::MAX; 1000];
    let order = json!({"user_id": i64::MAX, "item_ids": items, "total_amount": 1.0});

    let order_id = system.place(&order).await;

    let stored = system.order(order_id).await;
    assert_eq!(stored["user_id"], i64::MAX);
    assert_eq!(stored["item_ids"], json!(items));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_slash_forms_place_an_order_without_a_redirect() {
    let system = System::start().await;

    let plain = system.post("/order/create-order", &sample::order().to_string()).await;
    let slashed = system.post("/order/create-order/", &sample::order().to_string()).await;

    assert_eq!((plain.status, slashed.status), (201, 201));
    assert_eq!(system.database.orders().await, 2);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charset_in_the_content_type_is_accepted() {
    let system = System::start().await;
    let request = system.client().post(system.url("/order/create-order"));
    let request = request.header("content-type", "application/json; charset=utf-8").body(sample::order().to_string());

    let reply = system.send(request).await;

    assert_eq!(reply.status, 201, "{reply:?}");
    system.end().await;
}

fn utc(time: &Value) -> DateTime<FixedOffset> {
    let text = time.as_str().unwrap_or_else(|| panic!("{time} is no time"));
    DateTime::parse_from_rfc3339(text).unwrap()
}
