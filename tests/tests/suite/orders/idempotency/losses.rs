//! Requests that are sent again because the first answer never came.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use orders_tests::{Api, System, wait_until};
use reqwest::Client;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_lost_its_answer_is_answered_as_if_it_had_not() {
    let system = System::start_behind_proxy(&[]).await;
    let elsewhere = system.start_api(&[]).await;
    let body = sample::order().to_string();

    system.proxy.cut_at_commit();
    let first = system.post_with_key("/orders", "key", &body).await;
    system.proxy.wait_until_cut().await;
    let again = elsewhere.post_with_key("/orders", "key", &body).await;

    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None), "{first:?}");
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")), "{again:?}");
    assert_eq!(first.text, again.text);
    assert_eq!(system.database.orders().await, 1);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_comes_late_is_answered_with_its_own_order() {
    let system = System::start_behind_proxy(&[]).await;
    let body = sample::order().to_string();

    system.proxy.hold_back_commit();
    let (first, ()) = tokio::join!(system.post_with_key("/orders", "key", &body), async {
        system.proxy.wait_until_cut().await;
        system.proxy.let_go();
    });
    let again = system.post_with_key("/orders", "key", &body).await;

    assert_eq!((first.status, again.status), (201, 201), "{first:?} {again:?}");
    assert_eq!(first.text, again.text);
    assert_eq!(system.database.orders().await, 1);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_given_up_before_its_commit_came_is_repeated_without_a_second_order() {
    let system = System::start_behind_proxy(&[]).await;
    let body = sample::order().to_string();

    system.proxy.hold_back_commit();
    let given_up = system.post_with_key("/orders", "key", &body).await;
    system.proxy.let_go();
    let repeated = system.post_with_key("/orders", "key", &body).await;

    let _ = given_up.assert_problem(409);
    assert_eq!(given_up.header("retry-after"), Some("1"));
    assert_eq!((repeated.status, repeated.header("idempotent-replayed")), (201, Some("true")), "{repeated:?}");
    assert_eq!(system.database.orders().await, 1);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_repeated_at_another_api_after_theirs_was_killed_place_one_order_each() {
    const CLIENTS: usize = 10;
    let system = System::start().await;
    let killed = system.start_api(&[]).await;
    let number = Arc::new(AtomicI64::new(0));

    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(place_until_killed(killed.url("/orders"), system.api.clone(), Arc::clone(&number)));
    }
    wait_until("orders are placed", async || system.database.orders().await > 100).await;
    killed.kill();
    let placed: BTreeMap<i64, Uuid> = clients.join_all().await.into_iter().flatten().collect();

    let rows: Vec<(i64, Uuid)> =
        sqlx::query_as("select user_id, order_id from orders").fetch_all(&system.database.pool).await.unwrap();
    assert_eq!(rows.len(), placed.len());
    assert_eq!(rows.into_iter().collect::<BTreeMap<_, _>>(), placed);
    system.end().await;
}

/// Places orders, each for a user and under a key of its own, until the API is gone; then repeats all of them at the
/// other API, whose answers must be the same. Returns each user's order.
async fn place_until_killed(url: String, other: Api, number: Arc<AtomicI64>) -> Vec<(i64, Uuid)> {
    let client = Client::builder().no_proxy().build().unwrap();
    let mut answers = Vec::new();
    let mut is_killed = false;
    while !is_killed {
        let user_id = number.fetch_add(1, Ordering::SeqCst) + 1;
        let request = client.post(&url).header("idempotency-key", user_id.to_string());
        let sent = async { request.json(&sample::order_of(user_id)).send().await?.error_for_status()?.text().await };
        let answer = sent.await.ok();
        is_killed = answer.is_none();
        answers.push((user_id, answer));
    }
    let mut placed = Vec::new();
    for (user_id, answer) in answers {
        let repeated =
            other.post_with_key("/orders", &user_id.to_string(), &sample::order_of(user_id).to_string()).await;
        assert_eq!(repeated.status, 201, "{repeated:?}");
        assert!(answer.is_none_or(|answer| answer == repeated.text), "{repeated:?}");
        placed.push((user_id, sample::id(&repeated.json())));
    }
    placed
}
