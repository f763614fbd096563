//! What a client on the host asks of the deployment.

use std::time::Duration;

use orders_tests::eventually;
use serde_json::Value;

use crate::sample;

/// A second on a quiet machine.
pub(super) const COMPLETED_WITHIN: Duration = Duration::from_mins(1);

pub(super) async fn wait_until_completed(api: &str, order_id: &str) {
    eventually("the order is COMPLETED", COMPLETED_WITHIN, || async {
        let order = get_json(&format!("{api}/orders/{order_id}")).await?;
        (order["status"] == "COMPLETED").then_some(())
    })
    .await;
}

/// Posts the order of the documentation's example and returns its id.
pub(super) async fn place_order(api: &str) -> String {
    place_order_of(api, 1).await
}

pub(super) async fn place_order_of(api: &str, user_id: i64) -> String {
    let response = reqwest::Client::new()
        .post(format!("{api}/order/create-order"))
        .json(&sample::order_of(user_id))
        .send()
        .await
        .expect("the published port answers");

    assert_eq!(response.status(), 201);
    let created: Value = response.json().await.expect("the answer is JSON");
    created["data"]["order_id"].as_str().expect("the answer holds the order's id").to_owned()
}

/// The JSON behind `url`, or nothing while it does not answer with success.
pub(super) async fn get_json(url: &str) -> Option<Value> {
    let response = reqwest::get(url).await.ok()?.error_for_status().ok()?;
    response.json().await.ok()
}
