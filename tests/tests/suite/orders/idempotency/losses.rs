//! Requests that are sent again because the first answer never came.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use orders_tests::{Api, Proxy, database, eventually};
use reqwest::Client;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::sample::{self, post_with_key};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_lost_its_answer_is_answered_as_if_it_had_not() {
    let database = database().await;
    let proxy = Proxy::start(&database.url).await;
    let api = Api::start(&proxy.url, &[]).await;
    let elsewhere = Api::start(&database.url, &[]).await;
    let body = sample::order().to_string();

    proxy.cut_at_commit();
    let first = post_with_key(&api, "/orders", "key", &body).await;
    proxy.wait_until_cut().await;
    let again = post_with_key(&elsewhere, "/orders", "key", &body).await;

    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None), "{first:?}");
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")), "{again:?}");
    assert_eq!(first.text, again.text);
    assert_eq!(database.orders().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_comes_late_is_answered_with_its_own_order() {
    let database = database().await;
    let proxy = Proxy::start(&database.url).await;
    let api = Api::start(&proxy.url, &[]).await;
    let body = sample::order().to_string();

    proxy.hold_back_commit();
    let (first, ()) = tokio::join!(post_with_key(&api, "/orders", "key", &body), async {
        proxy.wait_until_cut().await;
        proxy.let_go();
    });
    let again = post_with_key(&api, "/orders", "key", &body).await;

    assert_eq!((first.status, again.status), (201, 201), "{first:?} {again:?}");
    assert_eq!(first.text, again.text);
    assert_eq!(database.orders().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_given_up_before_its_commit_came_is_repeated_without_a_second_order() {
    let database = database().await;
    let proxy = Proxy::start(&database.url).await;
    let api = Api::start(&proxy.url, &[]).await;
    let body = sample::order().to_string();

    proxy.hold_back_commit();
    let given_up = post_with_key(&api, "/orders", "key", &body).await;
    proxy.let_go();
    let repeated = post_with_key(&api, "/orders", "key", &body).await;

    let _ = given_up.assert_problem(409);
    assert_eq!(given_up.header("retry-after"), Some("1"));
    assert_eq!((repeated.status, repeated.header("idempotent-replayed")), (201, Some("true")), "{repeated:?}");
    assert_eq!(database.orders().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_repeated_at_another_api_after_theirs_was_killed_place_one_order_each() {
    const CLIENTS: usize = 10;
    let database = database().await;
    let killed = Api::start(&database.url, &[]).await;
    let other = Arc::new(Api::start(&database.url, &[]).await);
    let number = Arc::new(AtomicI64::new(0));

    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(place_until_killed(killed.url("/orders"), Arc::clone(&other), Arc::clone(&number)));
    }
    eventually("orders are placed", sample::SOON, || async { (database.orders().await > 100).then_some(()) }).await;
    killed.kill();
    let placed: BTreeMap<i64, Uuid> = clients.join_all().await.into_iter().flatten().collect();

    let rows: Vec<(i64, Uuid)> =
        sqlx::query_as("select user_id, order_id from orders").fetch_all(&database.pool).await.unwrap();
    assert_eq!(rows.len(), placed.len());
    assert_eq!(rows.into_iter().collect::<BTreeMap<_, _>>(), placed);
}

/// Places orders of a user each under a key of its own until the API is gone, then repeats all of them at the other one,
/// whose answers must be the same. Tells each user's order.
async fn place_until_killed(url: String, other: Arc<Api>, number: Arc<AtomicI64>) -> Vec<(i64, Uuid)> {
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
            post_with_key(&other, "/orders", &user_id.to_string(), &sample::order_of(user_id).to_string()).await;
        assert_eq!(repeated.status, 201, "{repeated:?}");
        assert!(answer.is_none_or(|answer| answer == repeated.text), "{repeated:?}");
        placed.push((user_id, sample::id(&repeated.json())));
    }
    placed
}
