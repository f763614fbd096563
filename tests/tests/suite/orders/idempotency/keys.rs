//! What is the same request, and what is not.

use futures_util::future::join_all;
use orders_tests::{Reply, System, wait_until};
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_answered_alike_and_places_one_order() {
    let system = System::start().await;
    let batch = json!({"orders": [sample::order_of(1), sample::order_of(2), sample::order_of(3)]});

    for (path, body, orders) in
        [("/order/create-order", sample::order(), 1), ("/orders", sample::order(), 2), ("/orders/batch", batch, 5)]
    {
        let first = system.post_with_key(path, path, &body.to_string()).await;
        let again = system.post_with_key(path, path, &body.to_string()).await;

        assert_is_new(&first);
        assert_replays(&again, &first);
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!(system.database.orders().await, orders);
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_key_places_an_order_each_time() {
    let system = System::start().await;

    let first = system.post("/orders", &sample::order().to_string()).await;
    let again = system.post("/orders", &sample::order().to_string()).await;

    assert_is_new(&first);
    assert_is_new(&again);
    assert_eq!(system.database.orders().await, 2);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_the_same_bare_and_in_quotes() {
    let system = System::start().await;
    let (bare, longest) = (Uuid::now_v7().to_string(), "\\".repeat(255));

    for (one, other) in [
        (bare.clone(), format!("\"{bare}\"")),
        (longest.clone(), format!("\"{}\"", longest.replace('\\', "\\\\"))),
        ("\"a b, c\"".to_owned(), "\"a b, c\" ".to_owned()),
    ] {
        let first = system.post_with_key("/orders", &one, &sample::order().to_string()).await;
        let again = system.post_with_key("/orders", &other, &sample::order().to_string()).await;

        assert_is_new(&first);
        assert_replays(&again, &first);
    }
    assert_is_new(&system.post_with_key("/orders", &bare.to_uppercase(), &sample::order().to_string()).await);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_the_same_meaning_is_the_same_body() {
    let system = System::start().await;
    let body = r#"{"user_id": 1, "item_ids": [1, 2], "total_amount": 100.0, "external_id": "a", "metadata": {"a": "1", "b": "2"},
        "process_after": "2031-01-01T00:00:00Z"}"#;
    let first = system.post_with_key("/orders", "key", body).await;
    assert_is_new(&first);

    for same in [
        r#"{"process_after":"2031-01-01T00:00:00Z","metadata":{"b":"2","a":"1"},"external_id":"a","total_amount":100.0,"item_ids":[1,2],"user_id":1}"#,
        &body.replace("100.0", "100"),
        &body.replace("100.0", "1E2"),
        &body.replace("\"a\"", r#""\u0061""#),
        &body.replace("00:00:00Z", "01:00:00+01:00"),
        &body.replace("{\"user_id\"", "{\"currency\": null, \"user_id\""),
    ] {
        assert_replays(&system.post_with_key("/orders", "key", same).await, &first);
    }
    assert_eq!(system.database.orders().await, 1);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_sent_with_another_body_places_nothing() {
    let system = System::start().await;
    let body = json!({
        "user_id": 1, "item_ids": [1, 2], "total_amount": 100.0, "currency": "EUR", "metadata": {"a": "b"},
        "process_after": "2031-01-01T00:00:00Z"
    });
    let first = system.post_with_key("/orders", "key", &body.to_string()).await;

    for (field, value) in [
        ("user_id", json!(2)),
        ("item_ids", json!([2, 1])),
        ("total_amount", json!(100.01)),
        ("currency", json!("USD")),
        ("currency", Value::Null),
        ("external_id", json!("a")),
        ("metadata", json!({"b": "a"})),
        ("metadata", json!({})),
        ("process_after", json!("2031-01-01T00:00:00.000001Z")),
        ("process_after", Value::Null),
    ] {
        let mut other = body.clone();
        other[field] = value;
        let reply = system.post_with_key("/orders", "key", &other.to_string()).await;

        assert!(reply.assert_problem(422)["detail"].as_str().unwrap().contains("Idempotency-Key"), "{reply:?}");
    }
    assert_replays(&system.post_with_key("/orders", "key", &body.to_string()).await, &first);
    assert_eq!(system.database.orders().await, 1);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_one_operation() {
    let system = System::start().await;
    let batch = json!({"orders": [sample::order()]});
    let requests = [("/order/create-order", sample::order()), ("/orders", sample::order()), ("/orders/batch", batch)];

    for (path, body) in &requests {
        system.post_with_key(path, path, &body.to_string()).await;
        for (other, body) in requests.iter().filter(|(other, _)| other != path) {
            let reply = system.post_with_key(other, path, &body.to_string()).await;

            let _ = reply.assert_problem(422);
        }
    }
    assert_eq!(system.database.orders().await, 3);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_shows_the_order_as_it_was_placed() {
    let system = System::start().await;
    let body = sample::order().to_string();
    let first = system.post_with_key("/orders", "key", &body).await;
    system.start_worker(&[]).await;
    system.wait_for_status(sample::id(&first.json()), "COMPLETED").await;

    let again = system.post_with_key("/orders", "key", &body).await;

    assert_replays(&again, &first);
    assert_eq!(again.json()["status"], "PENDING");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_leaves_its_key_unused() {
    let system = System::start().await;
    let taken = json!({"user_id": 1, "item_ids": [1], "total_amount": 1, "external_id": "a"}).to_string();
    system.post("/orders", &taken).await;

    for (key, body, status) in [("bad-body", sample::order_of(0).to_string(), 422), ("external-id", taken, 409)] {
        let refused = system.post_with_key("/orders", key, &body).await;
        let mended = system.post_with_key("/orders", key, &sample::order().to_string()).await;

        let _ = refused.assert_problem(status);
        assert_is_new(&mended);
    }
    assert_eq!(system.database.orders().await, 3);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_no_key_is_refused() {
    let system = System::start().await;
    let longer = "k".repeat(256);
    let values: [&[&[u8]]; 12] = [
        &[b""],
        &[b"\"\""],
        &[longer.as_bytes()],
        &["é".as_bytes()],
        &[b"\xff"],
        &[b"a b"],
        &[b"a,b"],
        &[b"\"open"],
        &[b"open\""],
        &[b"\"a\"b\""],
        &[b"a", b"b"],
        &[b"a", b"a"],
    ];

    for values in values {
        for path in ["/order/create-order", "/orders"] {
            let mut request = system.client().post(system.url(path)).header("content-type", "application/json");
            for value in values {
                request = request.header("idempotency-key", HeaderValue::from_bytes(value).unwrap());
            }
            let reply = system.send(request.body(sample::order().to_string())).await;

            assert!(
                reply.assert_problem(400)["detail"].as_str().unwrap().contains("Idempotency-Key"),
                "{values:?} {reply:?}"
            );
        }
    }
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_at_once_with_one_key_make_one_order_and_fifty_equal_answers() {
    let system = System::start().await;
    let apis = [system.api.clone(), system.start_api(&[]).await];
    let batch = json!({"orders": [sample::order_of(1), sample::order_of(2)]}).to_string();
    let order = sample::order().to_string();
    let mut orders = 0;

    for round in 0..4 {
        for (path, body, placed) in
            [("/order/create-order", &order, 1), ("/orders", &order, 1), ("/orders/batch", &batch, 2)]
        {
            let key = format!("{path} {round}").replace(' ', "-");
            let replies = join_all((0..50).map(|n| apis[n % 2].post_with_key(path, &key, body))).await;

            orders += placed;
            assert_eq!(system.database.orders().await, orders, "{replies:?}");
            let (new, replayed): (Vec<_>, Vec<_>) =
                replies.iter().partition(|reply| reply.header("idempotent-replayed").is_none());
            assert_eq!((new.len(), replayed.len()), (1, 49), "{replies:?}");
            assert_is_new(new[0]);
            for reply in replayed {
                assert_replays(reply, new[0]);
            }
        }
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_many_keys_in_any_order_place_one_order_each() {
    let system = System::start().await;
    let apis = [system.api.clone(), system.start_api(&[]).await];
    let post = |api: usize, key: usize| {
        let order = sample::order_of(i64::try_from(key).unwrap() + 1).to_string();
        let api = &apis[api];
        async move { (key, api.post_with_key("/orders", &key.to_string(), &order).await) }
    };

    let upwards = (0..100).map(|key| post(0, key));
    let downwards = (0..100).rev().map(|key| post(1, key));
    let replies = join_all(upwards.chain(downwards)).await;

    for key in 0..100 {
        let answers: Vec<_> = replies.iter().filter(|(of, _)| *of == key).map(|(_, reply)| &reply.text).collect();
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[0], answers[1]);
    }
    assert_eq!(system.database.orders().await, 100);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_keys_are_pruned_and_young_ones_are_kept() {
    let system = System::start().await;
    let body = sample::order().to_string();
    let old = system.post_with_key("/orders", "old", &body).await;
    system
        .database
        .execute("update idempotency_keys set created_at = now(6) - interval 25 hour - interval 1 second")
        .await;
    let many = "
        insert into idempotency_keys (key_hash, fingerprint, order_ids, created_at)
        with recursive numbers as (select 1 as n union all select n + 1 from numbers where n < 999)
        select unhex(sha2(n, 256)), unhex(sha2(n, 256)), '', now(6) - interval 30 day from numbers
        union all
        select unhex(sha2(n + 1000, 256)), unhex(sha2(n, 256)), '', now(6) - interval 30 day from numbers
    ";
    system.database.execute(many).await;
    let young = system.post_with_key("/orders", "young", &body).await;
    system.database.execute("update idempotency_keys set created_at = now(6) - interval 24 hour where created_at > now(6) - interval 1 hour").await;

    let _worker = system.start_worker(&[]).await;
    let keys = "select count(*) from idempotency_keys";
    wait_until("the old keys are gone", async || system.database.scalar::<i64>(keys).await == 1).await;

    assert_replays(&system.post_with_key("/orders", "young", &body).await, &young);
    let anew = system.post_with_key("/orders", "old", &body).await;
    assert_is_new(&anew);
    assert_ne!(sample::id(&anew.json()), sample::id(&old.json()));
    assert_eq!(system.database.orders().await, 3);
    system.end().await;
}

fn assert_is_new(reply: &Reply) {
    assert_eq!((reply.status, reply.header("idempotent-replayed")), (201, None), "{reply:?}");
}

fn assert_replays(reply: &Reply, first: &Reply) {
    assert_eq!((reply.status, reply.header("idempotent-replayed")), (201, Some("true")), "{reply:?}");
    assert_eq!(reply.text, first.text);
}
