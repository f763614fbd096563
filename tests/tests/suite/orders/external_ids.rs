//! The caller's own number of an order, which no second order ever has.

use futures_util::future::join_all;
use orders_tests::{Api, Reply, System};
use reqwest::Url;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_order_with_an_external_id_is_told_the_first_whatever_became_of_it() {
    let system = System::start().await;
    let worker = system.start_worker(&[]).await;
    let completed = place(&system, "completed").await;
    system.wait_for_status(completed, "COMPLETED").await;
    assert_eq!(worker.terminate().await.code(), Some(0));
    let canceled = place(&system, "canceled").await;
    system.post(&format!("/orders/{canceled}/cancel"), "").await;
    system.wait_for_status(canceled, "CANCELED").await;
    let pending = place(&system, "pending").await;

    for (external_id, first) in [("completed", completed), ("canceled", canceled), ("pending", pending)] {
        let second = system.post("/orders", &order(external_id)).await;

        assert_names(&second, "/external_id", first);
    }
    assert_eq!(system.database.orders().await, 3);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn external_ids_differ_by_each_character() {
    let system = System::start().await;
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
        placed.push(place(&system, external_id).await);
    }

    for (external_id, order_id) in alike.into_iter().zip(placed) {
        let found = Url::parse_with_params(&system.url("/orders"), [("external_id", external_id)]).unwrap();
        let found = system.send(system.client().get(found)).await.json();

        assert_names(&system.post("/orders", &order(external_id)).await, "/external_id", order_id);
        assert_eq!(found["orders"].as_array().unwrap().iter().map(sample::id).collect::<Vec<_>>(), [order_id]);
        assert_eq!(found["orders"][0]["external_id"], external_id);
    }
    assert_eq!(system.database.orders().await, i64::try_from(alike.len()).unwrap());
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_posts_at_once_with_one_external_id_place_one_order() {
    let system = System::start().await;
    let apis = [system.api.clone(), system.start_api(&[]).await];

    for round in 1..=5 {
        let order = order(&format!("round {round}"));
        let replies = join_all((0..40).map(|n| apis[n % 2].post("/orders", &order))).await;

        let (created, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 201);
        assert_eq!(created.len(), 1, "{replies:?}");
        for reply in refused {
            assert_names(reply, "/external_id", sample::id(&created[0].json()));
        }
        assert_eq!(system.database.orders().await, round);
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_commit_lost_its_answer_does_not_collide_with_itself() {
    let system = System::start_behind_proxy(&[]).await;

    system.proxy.cut_at_commit();
    let answered = place(&system, "answer lost").await;
    system.proxy.wait_until_cut().await;
    system.proxy.hold_back_commit();
    let (late, ()) = tokio::join!(place(&system, "commit late"), async {
        system.proxy.wait_until_cut().await;
        system.proxy.let_go();
    });

    for (external_id, order_id) in [("answer lost", answered), ("commit late", late)] {
        assert_names(&system.post("/orders", &order(external_id)).await, "/external_id", order_id);
    }
    assert_eq!(system.database.orders().await, 2);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_an_external_id_that_is_taken_places_nothing_and_says_where() {
    let system = System::start().await;
    let first = place(&system, "taken").await;
    let batch = json!({"orders": [sample::order(), with_external_id("free"), with_external_id("taken")]});

    let refused = system.post("/orders/batch", &batch.to_string()).await;

    assert_names(&refused, "/orders/2/external_id", first);
    assert_eq!(system.database.orders().await, 1);
    place(&system, "free").await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_an_external_id_twice_places_nothing_and_says_where() {
    let system = System::start().await;
    let batch =
        json!({"orders": [with_external_id("a"), with_external_id("A"), sample::order(), with_external_id("a")]});

    let refused = system.post("/orders/batch", &batch.to_string()).await;

    assert_eq!(refused.faults(422), [("/orders/3/external_id".to_owned(), "duplicate".to_owned())]);
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_want_the_same_external_ids_in_another_order_end_each_other_never() {
    let system = System::start().await;
    let apis = [system.api.clone(), system.start_api(&[]).await];

    for round in 1..=5 {
        let ids: Vec<_> = (0..50).map(|n| format!("{round}-{n}")).collect();
        let batch =
            |ids: Vec<&String>| json!({"orders": ids.into_iter().map(|id| with_external_id(id)).collect::<Value>()});
        let batches = [batch(ids.iter().collect()).to_string(), batch(ids.iter().rev().collect()).to_string()];

        let replies = join_all((0..8).map(|n| apis[n % 2].post("/orders/batch", &batches[n / 2 % 2]))).await;

        let statuses = |status| replies.iter().filter(|reply| reply.status == status).count();
        assert_eq!((statuses(201), statuses(409)), (1, 7), "{replies:?}");
        assert_eq!(system.database.orders().await, 50 * round);
    }
    system.end().await;
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
