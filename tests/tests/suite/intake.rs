//! What the API promises about orders that it has taken in, when writing them goes wrong.

use futures_util::future::join_all;
use orders_tests::{Api, Database, Proxy, database};
use serde_json::Value;
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_commit_lost_its_answer_is_answered_with_201_and_stored_once() {
    let database = database().await;
    let line = Proxy::start(&database.url).await;
    let api = Api::start(&line.url, &[]).await;
    let before = api.place(&sample::order()).await;

    line.cut_at_answer_to(b",987654321,");
    let alone = api.place(&sample::order_of(987_654_321)).await;
    line.has_cut().await;

    assert_eq!(orders_of(&database, 987_654_321).await, [alone]);
    assert_eq!(orders_of(&database, 1).await, [before]);
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_that_shared_a_commit_which_lost_its_answer_are_each_stored_once() {
    let database = database().await;
    let line = Proxy::start(&database.url).await;
    let api = Api::start(&line.url, &[]).await;

    line.cut_at_answer_to(b",987654321,");
    let users: Vec<i64> = (987_654_300..987_654_360).collect();
    let orders: Vec<Value> = users.iter().map(|user_id| sample::order_of(*user_id)).collect();
    let placed = join_all(orders.iter().map(|order| api.place(order))).await;
    line.has_cut().await;

    for (user_id, order_id) in users.iter().zip(placed) {
        assert_eq!(orders_of(&database, *user_id).await, [order_id]);
    }
}

async fn orders_of(database: &Database, user_id: i64) -> Vec<Uuid> {
    let orders = sqlx::query_scalar("select order_id from orders where user_id = ?").bind(user_id);
    orders.fetch_all(&database.pool).await.unwrap()
}
