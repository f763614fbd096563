//! Bad input: it is refused by name, and nothing of it is stored.

use std::collections::BTreeSet;

use orders_tests::{Reply, System};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_field_is_refused_by_its_name_and_nothing_is_stored() {
    let system = System::start().await;

    for (field, value, pointer) in wrong_values() {
        let body = with(field, &value);

        let reply = system.post("/order/create-order", &body).await;

        assert_eq!(pointers(&reply, 422), [pointer.to_owned()].into(), "{body:.200}");
    }
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_field_is_named() {
    let system = System::start().await;

    for field in ["user_id", "item_ids", "total_amount"] {
        let mut order = sample::order();
        order.as_object_mut().unwrap().remove(field);

        let reply = system.post("/order/create-order", &order.to_string()).await;

        assert_eq!(pointers(&reply, 422), [format!("/{field}")].into());
    }
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_faults_of_a_body_come_in_one_answer() {
    let system = System::start().await;
    let body = r#"{"user_id": 0, "item_ids": [1, 0, "x"], "total_amount": -1, "note": "extra"}"#;

    let reply = system.post("/order/create-order", body).await;

    let expected = ["/user_id", "/item_ids/1", "/item_ids/2", "/total_amount", "/note"].map(str::to_owned);
    assert_eq!(pointers(&reply, 422), expected.into());
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_json_is_malformed() {
    let system = System::start().await;
    let not_a_number = with("total_amount", "NaN");

    for body in ["", "{", r#"{"user_id": 1,"#, "order", "{} {}", &not_a_number] {
        let reply = system.post("/order/create-order", body).await;

        let _ = reply.assert_problem(400);
    }
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_another_encoding_than_utf_8_is_told_which_it_is() {
    let system = System::start().await;
    let order = sample::order().to_string();
    let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let marked = format!("\u{feff}{order}");

    for (body, words) in [
        (marked.clone().into_bytes(), "byte order mark"),
        (utf_16(&marked), "UTF-16"),
        (utf_16(&order), "UTF-16"),
        (b"{\"external_id\": \"Jos\xe9\"}".to_vec(), "byte 21 "),
    ] {
        for path in ["/order/create-order", "/orders", "/orders/batch"] {
            let request = system.client().post(system.url(path)).header("content-type", "application/json");

            let problem = system.send(request.body(body.clone())).await.assert_problem(400);

            assert_eq!(problem["type"], "/problems/malformed-body", "{path}: {problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(words) && detail.contains("RFC 8259"), "{path}: {problem}");
        }
    }
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_object_is_refused() {
    let system = System::start().await;

    for body in ["[]", "null", "1", r#""order""#] {
        let reply = system.post("/order/create-order", body).await;

        let _ = reply.assert_problem(422);
    }
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_64_kib_is_accepted_and_one_byte_more_is_not() {
    let system = System::start().await;
    let order = sample::order().to_string();
    let padded = |bytes: usize| order.clone() + &" ".repeat(bytes - order.len());

    let largest = system.post("/order/create-order", &padded(64 * 1024)).await;
    let too_large = system.post("/order/create-order", &padded(64 * 1024 + 1)).await;

    assert_eq!(largest.status, 201, "{largest:?}");
    let _ = too_large.assert_problem(413);
    assert_eq!(system.database.orders().await, 1);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_content_type_is_refused() {
    let system = System::start().await;

    for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("nonsense")] {
        let mut request = system.client().post(system.url("/order/create-order")).body(sample::order().to_string());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }

        let reply = system.send(request).await;

        let _ = reply.assert_problem(415);
    }
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_for_is_a_problem_of_its_own_kind() {
    let system = System::start().await;
    let nobody = format!("/orders/{}", Uuid::now_v7());

    for (path, status) in [
        ("/order/status/DONE", 400),
        ("/order/status/PENDING?limit=0", 400),
        ("/order/status/PENDING?limit=1001", 400),
        ("/order/status/PENDING?limit=-1", 400),
        ("/order/status/PENDING?limit=many", 400),
        ("/order/status/PENDING?cursor=nonsense", 400),
        ("/orders/17", 400),
        (&nobody, 404),
        ("/nowhere", 404),
    ] {
        let reply = system.get(path).await;

        let _ = reply.assert_problem(status);
    }
    let no_id = system.post("/orders/17/cancel", "").await.assert_problem(400);
    assert!(no_id["detail"].as_str().is_some_and(|detail| detail.contains("`order_id`")), "{no_id}");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_is_refused() {
    let system = System::start().await;

    for path in ["/order/create-order", "/order/create-order/", "/metrics"] {
        let reply = system.send(system.client().delete(system.url(path))).await;

        let _ = reply.assert_problem(405);
    }
    system.end().await;
}

/// Field, JSON text of its value, and the pointer that must name the fault.
fn wrong_values() -> Vec<(&'static str, String, &'static str)> {
    let too_many = json!(vec![1; 1001]).to_string();
    [
        ("user_id", "\"1\"", "/user_id"),
        ("user_id", "null", "/user_id"),
        ("user_id", "1.5", "/user_id"),
        ("user_id", "0", "/user_id"),
        ("user_id", "-1", "/user_id"),
        ("user_id", "9223372036854775808", "/user_id"),
        ("item_ids", "1", "/item_ids"),
        ("item_ids", "\"[1, 2]\"", "/item_ids"),
        ("item_ids", "null", "/item_ids"),
        ("item_ids", "[]", "/item_ids"),
        ("item_ids", too_many.as_str(), "/item_ids"),
        ("item_ids", "[1, 0]", "/item_ids/1"),
        ("item_ids", "[1, \"2\"]", "/item_ids/1"),
        ("item_ids", "[1, 9223372036854775808]", "/item_ids/1"),
        ("item_ids", "[1, null]", "/item_ids/1"),
        ("total_amount", "\"100.0\"", "/total_amount"),
        ("total_amount", "null", "/total_amount"),
        ("total_amount", "true", "/total_amount"),
        ("total_amount", "-1", "/total_amount"),
        ("total_amount", "-0.0001", "/total_amount"),
        ("total_amount", "0.00001", "/total_amount"),
        ("total_amount", "100000000000000", "/total_amount"),
        ("total_amount", "1e400", "/total_amount"),
        ("note", "\"extra\"", "/note"),
    ]
    .map(|(field, value, pointer)| (field, value.to_owned(), pointer))
    .into()
}

/// The sample order with one field as the given text.
fn with(field: &str, value: impl AsRef<str>) -> String {
    let mut fields: Vec<String> = sample::order()
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| *name != field)
        .map(|(name, value)| format!("\"{name}\": {value}"))
        .collect();
    fields.push(format!("\"{field}\": {}", value.as_ref()));
    format!("{{{}}}", fields.join(", "))
}

/// The pointers of a problem's errors; each error must have a code and a detail.
fn pointers(reply: &Reply, status: u16) -> BTreeSet<String> {
    let problem = reply.assert_problem(status);
    let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("no errors in {problem}"));
    let text = |error: &Value, member: &str| error[member].as_str().unwrap_or_else(|| panic!("{problem}")).to_owned();
    for error in errors {
        assert!(!text(error, "code").is_empty() && !text(error, "detail").is_empty(), "{problem}");
    }
    errors.iter().map(|error| text(error, "pointer")).collect()
}
