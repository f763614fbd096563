//! The caller's own number of an order, which no second order ever has.

use futures_util::future::join_all;
use orders_tests::{Api, Proxy, Reply, Worker, database};
use reqwest::Url;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_order_with_an_external_id_is_told_the_first_whatever_became_of_it() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, &[]).await;
    let completed = place(&api, "completed").await;
    sample::wait_for_status(&api, completed, "COMPLETED").await;
    assert_eq!(worker.terminate().await.code(), Some(0));
    let canceled = place(&api, "canceled").await;
    api.post(&format!("/orders/{canceled}/cancel"), "").await;
    sample::wait_for_status(&api, canceled, "CANCELED").await;
    let pending = place(&api, "pending").await;

    for (external_id, first) in [("completed", completed), ("canceled", canceled), ("pending", pending)] {
        let second = api.post("/orders", &order(external_id)).await;

        assert_names(&second, "/external_id", first);
    }
    assert_eq!(database.orders().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn external_ids_differ_by_each_character() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let longest = "😀".repeat(64);
    let alike = [
        "a",
        "A",
        "ä",
        "a\u{308}",
        "á",
        "ａ",
        "a\u{ad}",
        "a\u{200b}",
        "a b",
        "a  b",
        "ß",
        "ss",
        "😀",
        "😁",
        "0",
        "00",
        "null",
        "\"",
        "'",
        "\\",
        "\\\\",
        "%41",
        "+",
        "a&b=c#d",
        "{}",
        &longest,
    ];

    let mut placed = Vec::new();
    for external_id in alike {
        placed.push(place(&api, external_id).await);
    }

    for (external_id, order_id) in alike.into_iter().zip(placed) {
        let found = Url::parse_with_params(&api.url("/orders"), [("external_id", external_id)]).unwrap();
        let found = api.send(api.client().get(found)).await.json();

        assert_names(&api.post("/orders", &order(external_id)).await, "/external_id", order_id);
        assert_eq!(found["orders"].as_array().unwrap().iter().map(sample::id).collect::<Vec<_>>(), [order_id]);
        assert_eq!(found["orders"][0]["external_id"], external_id);
    }
    assert_eq!(database.orders().await, i64::try_from(alike.len()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_posts_at_once_with_one_external_id_place_one_order() {
    let database = database().await;
    let apis = [Api::start(&database.url, &[]).await, Api::start(&database.url, &[]).await];

    for round in 1..=5 {
        let order = order(&format!("round {round}"));
        let replies = join_all((0..40).map(|n| apis[n % 2].post("/orders", &order))).await;

        let (created, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 201);
        assert_eq!(created.len(), 1, "{replies:?}");
        for reply in refused {
            assert_names(reply, "/external_id", sample::id(&created[0].json()));
        }
        assert_eq!(database.orders().await, round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_commit_lost_its_answer_does_not_collide_with_itself() {
    let database = database().await;
    let proxy = Proxy::start(&database.url).await;
    let api = Api::start(&proxy.url, &[]).await;

    proxy.cut_at_commit();
    let answered = place(&api, "answer lost").await;
    proxy.wait_until_cut().await;
    proxy.hold_back_commit();
    let (late, ()) = tokio::join!(place(&api, "commit late"), async {
        proxy.wait_until_cut().await;
        proxy.let_go();
    });

    for (external_id, order_id) in [("answer lost", answered), ("commit late", late)] {
        assert_names(&api.post("/orders", &order(external_id)).await, "/external_id", order_id);
    }
    assert_eq!(database.orders().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_an_external_id_that_is_taken_places_nothing_and_says_where() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let first = place(&api, "taken").await;
    let batch = json!({"orders": [sample::order(), with_external_id("free"), with_external_id("taken")]});

    let refused = api.post("/orders/batch", &batch.to_string()).await;

    assert_names(&refused, "/orders/2/external_id", first);
    assert_eq!(database.orders().await, 1);
    place(&api, "free").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_an_external_id_twice_places_nothing_and_says_where() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let batch =
        json!({"orders": [with_external_id("a"), with_external_id("A"), sample::order(), with_external_id("a")]});

    let refused = api.post("/orders/batch", &batch.to_string()).await;

    assert_eq!(refused.faults(422), [("/orders/3/external_id".to_owned(), "duplicate".to_owned())]);
    assert_eq!(database.orders().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_want_the_same_external_ids_in_another_order_end_each_other_never() {
    let database = database().await;
    let apis = [Api::start(&database.url, &[]).await, Api::start(&database.url, &[]).await];

    for round in 1..=5 {
        let ids: Vec<_> = (0..50).map(|n| format!("{round}-{n}")).collect();
        let batch =
            |ids: Vec<&String>| json!({"orders": ids.into_iter().map(|id| with_external_id(id)).collect::<Value>()});
        let batches = [batch(ids.iter().collect()).to_string(), batch(ids.iter().rev().collect()).to_string()];

        let replies = join_all((0..8).map(|n| apis[n % 2].post("/orders/batch", &batches[n / 2 % 2]))).await;

        let statuses = |status| replies.iter().filter(|reply| reply.status == status).count();
        assert_eq!((statuses(201), statuses(409)), (1, 7), "{replies:?}");
        assert_eq!(database.orders().await, 50 * round);
    }
}

fn with_external_id(external_id: &str) -> Value {
    json!({"user_id": 1, "item_ids": [1, 2], "total_amount": 100.0, "external_id": external_id})
}

fn order(external_id: &str) -> String {
    with_external_id(external_id).to_string()
}

async fn place(api: &Api, external_id: &str) -> Uuid {
    let reply = api.post("/orders", &order(external_id)).await;
    assert_eq!(reply.status, 201, "{external_id}: {reply:?}");
    assert_eq!(reply.json()["external_id"], external_id);
    sample::id(&reply.json())
}

/// The external id at `pointer` must be refused as that of another order.
fn assert_names(reply: &Reply, pointer: &str, order_id: Uuid) {
    assert_eq!(reply.faults(409), [(pointer.to_owned(), "taken".to_owned())], "{reply:?}");
    assert_eq!(reply.json()["order_id"], order_id.to_string(), "{reply:?}");
}
