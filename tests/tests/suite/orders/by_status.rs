//! Orders by status, page by page.

use chrono::DateTime;
use orders_tests::{Api, Reply, System};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_order_has_the_documented_fields() {
    let system = System::start().await;
    let order_id = system.place(&json!({"user_id": 3, "item_ids": [4, 6], "total_amount": 220_099.0})).await;

    let list = system.get("/order/status/PENDING").await;

    assert_eq!(list.status, 200);
    let body = list.json();
    let order = &body[0];
    assert_eq!(order["order_id"], order_id.to_string());
    assert_eq!(order["user_id"], 3);
    assert_eq!(order["items_id"], "[4, 6]");
    assert_eq!(order["status"], "PENDING");
    for time in ["created_at", "updated_at"] {
        let time = DateTime::parse_from_rfc3339(order[time].as_str().unwrap()).unwrap();
        assert_eq!(time.offset().local_minus_utc(), 0);
    }
    assert_eq!(body.as_array().unwrap().len(), 1);
    assert_eq!(list.header("link"), None, "there is no next page");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_order_comes_first_and_100_make_a_page() {
    let system = System::start().await;
    let mut placed = place(&system, 103).await;
    placed.reverse();

    let first = system.get("/order/status/PENDING").await;
    let second = system.get(&next(&first).unwrap()).await;

    assert_eq!(ids(&first), placed[..100]);
    assert_eq!(ids(&second), placed[100..]);
    assert_eq!(next(&second), None);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_visit_each_order_once_while_orders_are_added() {
    let system = System::start().await;
    let mut placed = place(&system, 25).await;
    placed.reverse();

    let mut visited = Vec::new();
    let mut page = Some("/order/status/PENDING?limit=4".to_owned());
    while let Some(path) = page {
        let reply = system.get(&path).await;
        assert!(ids(&reply).len() <= 4, "{reply:?}");
        visited.extend(ids(&reply));
        page = next(&reply);
        system.place(&sample::order()).await;
    }

    assert_eq!(visited, placed);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_last_page_links_no_other() {
    let system = System::start().await;
    place(&system, 3).await;

    let reply = system.get("/order/status/PENDING?limit=3").await;

    assert_eq!((ids(&reply).len(), next(&reply)), (3, None));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_known_in_any_letter_case_and_with_a_trailing_slash() {
    let system = System::start().await;
    let placed = place(&system, 1).await;

    for name in ["PENDING", "pending", "Pending", "pEnDiNg", "PENDING/", "pending/"] {
        let reply = system.get(&format!("/order/status/{name}")).await;

        assert_eq!((reply.status, ids(&reply)), (200, placed.clone()), "{name}");
    }
    for name in ["processing", "Completed", "FAILED", "canceled"] {
        let reply = system.get(&format!("/order/status/{name}")).await;

        assert_eq!((reply.status, reply.json()), (200, json!([])), "{name}");
    }
    system.end().await;
}

async fn place(api: &Api, count: usize) -> Vec<Uuid> {
    let mut placed = Vec::new();
    for _ in 0..count {
        placed.push(api.place(&sample::order()).await);
    }
    placed
}

fn ids(reply: &Reply) -> Vec<Uuid> {
    let body = reply.json();
    let orders = body.as_array().unwrap_or_else(|| panic!("no list: {reply:?}"));
    let id = |order: &Value| order["order_id"].as_str().unwrap().parse().unwrap();
    orders.iter().map(id).collect()
}

/// The path of the next page (RFC 8288).
fn next(reply: &Reply) -> Option<String> {
    let (path, relation) = reply.header("link")?.strip_prefix('<')?.split_once('>')?;
    assert_eq!(relation, "; rel=\"next\"");
    Some(path.to_owned())
}
