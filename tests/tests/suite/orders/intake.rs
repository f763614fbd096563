//! What the API promises about orders that it has taken in, when writing them goes wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use orders_tests::{Api, Database, Reply, SOON, System, assert_counts_are_exact, eventually};
use serde_json::{Value, json};
use sqlx::{MySql, Transaction};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::sample;

/// How many orders can wait for the database: those in the queue, and those that its two writers have taken.
const WAITING_MAX: usize = 4_096 + 2 * 500;

/// Far more than that, in case the API takes orders in more slowly than it gives up on waiting ones.
const POSTS_MAX: usize = 4 * WAITING_MAX;

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_commit_lost_its_answer_is_answered_with_201_and_stored_once() {
    let system = System::start_behind_proxy(&[]).await;
    let before = system.place(&sample::order()).await;

    system.proxy.cut_at_answer_to(b",987654321,");
    let alone = system.place(&sample::order_of(987_654_321)).await;
    system.proxy.wait_until_cut().await;

    assert_eq!(orders_of(&system.database, 987_654_321).await, [alone]);
    assert_eq!(orders_of(&system.database, 1).await, [before]);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_that_shared_a_commit_which_lost_its_answer_are_each_stored_once() {
    let system = System::start_behind_proxy(&[]).await;

    system.proxy.cut_at_answer_to(b",987654321,");
    let users: Vec<i64> = (987_654_300..987_654_360).collect();
    let orders: Vec<Value> = users.iter().map(|user_id| sample::order_of(*user_id)).collect();
    let placed = join_all(orders.iter().map(|order| system.place(order))).await;
    system.proxy.wait_until_cut().await;

    for (user_id, order_id) in users.iter().zip(placed) {
        assert_eq!(orders_of(&system.database, *user_id).await, [order_id]);
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_reaches_the_database_late_is_stored_and_counted_once() {
    let system = System::start_behind_proxy(&[]).await;
    let order = sample::order();

    system.proxy.hold_back_commit();
    let (late, ()) = tokio::join!(system.place(&order), async {
        system.proxy.wait_until_cut().await;
        system.proxy.let_go();
    });
    let next = system.place(&order).await;

    assert_eq!(orders_of(&system.database, 1).await, [late, next]);
    assert_counts_are_exact(&system.database.pool).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_turns_orders_away_and_keeps_what_it_accepted() {
    sample::allow_many_connections();
    let system = System::start_with(&[("API_MEMORY_MB", "700")]).await;
    system.place(&sample::order()).await;
    let mut holder = system.database.pool.acquire().await.unwrap();
    sqlx::raw_sql("lock tables orders write").execute(&mut *holder).await.unwrap();

    let (mut posts, is_full) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
    eventually("an order is turned away", SOON, || {
        for _ in 0..30 {
            if posts.len() < POSTS_MAX {
                let user_id = i64::try_from(posts.len()).unwrap() + 2;
                posts.spawn(post(system.api.clone(), user_id, Arc::clone(&is_full)));
            }
        }
        let is_full = is_full.load(Ordering::SeqCst);
        async move { is_full.then_some(()) }
    })
    .await;
    sqlx::raw_sql("unlock tables").execute(&mut *holder).await.unwrap();
    let replies = posts.join_all().await;

    let stored = stored(&system.database).await;
    let (mut accepted, mut turned_away) = (0, 0);
    for (user_id, reply) in replies {
        if reply.status == 201 {
            let order_id = reply.json()["data"]["order_id"].as_str().unwrap().parse().unwrap();
            assert_eq!(stored.get(&user_id), Some(&order_id), "{reply:?}");
            accepted += 1;
        } else if is_for_a_full_queue(&reply) {
            assert_eq!(stored.get(&user_id), None, "it is stored: {reply:?}");
            turned_away += 1;
        }
    }
    assert!(accepted > 0 && turned_away > 0, "{accepted} accepted, {turned_away} turned away");
    system.place(&sample::order()).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waits_for_a_lock_holds_up_no_other() {
    let system = System::start().await;
    let rival = locked_external_id(&system.database).await;

    let held_up = tokio::spawn({
        let api = system.api.clone();
        let order = json!({"user_id": 1, "item_ids": [1], "total_amount": 1, "external_id": "A"});
        async move { api.post("/orders", &order.to_string()).await }
    });
    // Sooner or later a writer takes it.
    for _ in 0..20 {
        system.place(&sample::order()).await;
    }
    let is_held_up = !held_up.is_finished();
    rival.rollback().await.unwrap();

    assert!(is_held_up, "another order waited for it");
    assert_eq!(held_up.await.unwrap().status, 201);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waits_for_a_lock_fails_none_that_shares_its_commit() {
    const POSTS: i64 = 200;
    let system = System::start().await;
    let rival = locked_external_id(&system.database).await;

    let mut posts = JoinSet::new();
    for number in 1..=POSTS {
        let api = system.api.clone();
        let mut order = sample::order_of(number);
        if number == POSTS / 2 {
            order["external_id"] = json!("A");
        }
        posts.spawn(async move { (number, api.post("/orders", &order.to_string()).await) });
    }
    let mut answered = 0;
    while answered < POSTS - 1 {
        let (number, reply) = posts.join_next().await.unwrap().unwrap();
        if number != POSTS / 2 {
            assert_eq!(reply.status, 201, "{reply:?}");
            answered += 1;
        }
    }
    rival.rollback().await.unwrap();

    assert!(posts.join_all().await.iter().all(|(_, reply)| matches!(reply.status, 201 | 409)));
    system.end().await;
}

/// A transaction that has taken the external id "A" and is still open.
async fn locked_external_id(database: &Database) -> Transaction<'static, MySql> {
    let mut rival = database.pool.begin().await.unwrap();
    let taken = "insert into external_ids (external_id, order_id) values ('A', ?)";
    sqlx::query(taken).bind(Uuid::nil()).execute(&mut *rival).await.unwrap();
    rival
}

/// Places an order and tells when the queue was full.
async fn post(api: Api, user_id: i64, is_full: Arc<AtomicBool>) -> (i64, Reply) {
    let reply = api.post("/order/create-order", &sample::order_of(user_id).to_string()).await;
    if reply.status != 201 && is_for_a_full_queue(&reply) {
        is_full.store(true, Ordering::SeqCst);
    }
    (user_id, reply)
}

/// Whether the refusal, which must say when to come again, is because of the full queue, not of the silent database.
fn is_for_a_full_queue(reply: &Reply) -> bool {
    let problem = reply.assert_problem(503);
    let seconds = reply.header("retry-after").unwrap_or_else(|| panic!("no Retry-After: {reply:?}"));
    assert!(seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{reply:?}");
    problem["detail"].as_str().is_some_and(|detail| detail.contains("Too many orders"))
}

async fn orders_of(database: &Database, user_id: i64) -> Vec<Uuid> {
    let orders = sqlx::query_scalar("select order_id from orders where user_id = ? order by order_id").bind(user_id);
    orders.fetch_all(&database.pool).await.unwrap()
}

/// Each user's only order.
async fn stored(database: &Database) -> BTreeMap<i64, Uuid> {
    let rows: Vec<(i64, Uuid)> =
        sqlx::query_as("select user_id, order_id from orders").fetch_all(&database.pool).await.unwrap();
    let stored: BTreeMap<i64, Uuid> = rows.iter().copied().collect();
    assert_eq!(stored.len(), rows.len(), "no order is there twice");
    stored
}
