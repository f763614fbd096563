//! What a caller may say of an order, and what of it is refused.

use orders_tests::{Api, Reply, System, database};
use serde_json::{Value, json};

use crate::sample;

/// Texts that some program on their way could misread.
const TEXTS: [&str; 22] = [
    "a",
    " with spaces ",
    "ä ß €",
    "a\u{308}",
    "😀 👩\u{200d}👩\u{200d}👧",
    "\u{0}\u{1}\u{1f}\u{7f}\u{85}",
    "\t\r\n\u{8}\u{c}",
    "\"quotes\"",
    "'quotes'",
    "\\backslash\\\\",
    "\\u0041",
    "/~0~1",
    "{\"a\": [1]}",
    "[1, 2]",
    "null",
    "1e400",
    "'; drop table orders; --",
    "%s %41 ${x} $[0]",
    "\u{2028}\u{2029}\u{feff}",
    "\u{fffd}\u{ffff}",
    "\u{10ffff}",
    "مرحبا",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_the_order_as_its_location_shows_it() {
    let system = System::start().await;
    let labelled = with(json!({
        "currency": "EUR",
        "external_id": "2026-11-0815",
        "metadata": {"channel": "web", "b": ""},
        "process_after": "2031-01-01T00:00:00Z"
    }));

    for order in [sample::order(), labelled, with(json!({"process_after": "2001-01-01T00:00:00Z"}))] {
        let reply = system.post("/orders", &order.to_string()).await;

        assert_eq!(reply.status, 201, "{reply:?}");
        let location = reply.header("location").unwrap().to_owned();
        assert_eq!(location, format!("/orders/{}", sample::id(&reply.json())));
        assert_eq!(system.get(&location).await.text, reply.text);
        assert_eq!(reply.json()["status"], "PENDING");
        for (field, value) in order.as_object().unwrap().iter().filter(|(field, _)| *field != "process_after") {
            assert_eq!(&reply.json()[field], value, "{field}");
        }
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_comes_back_character_by_character() {
    let system = System::start().await;
    let each: Value = TEXTS.iter().enumerate().map(|(n, text)| (format!("{text}{n}"), json!(text))).collect();

    for metadata in [each, json!({}), json!({"empty": ""})] {
        let reply = system.post("/orders", &with(json!({"metadata": metadata})).to_string()).await;

        assert_eq!(reply.status, 201, "{reply:?}");
        assert_eq!(reply.json()["metadata"], metadata);
        assert_eq!(stored(&system, &reply).await["metadata"], metadata);
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_kept_whatever_character_set_the_database_has() {
    let database = database().await;
    database.execute("alter database character set latin1").await;
    let system = System::on(database, &[]).await;
    let labels = json!({"external_id": "😀 €", "metadata": {"😀": "€"}});

    let reply = system.post("/orders", &with(labels.clone()).to_string()).await;

    assert_eq!(reply.status, 201, "{reply:?}");
    let order = stored(&system, &reply).await;
    assert_eq!((&order["external_id"], &order["metadata"]), (&labels["external_id"], &labels["metadata"]));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_null_is_as_if_it_were_not_there() {
    let system = System::start().await;
    let nulls = with(json!({"currency": null, "external_id": null, "metadata": null, "process_after": null}));

    let reply = system.post("/orders", &nulls.to_string()).await;

    assert_eq!(reply.status, 201, "{reply:?}");
    let order = stored(&system, &reply).await;
    for field in ["currency", "external_id", "process_after"] {
        assert_eq!(order[field], Value::Null, "{field}");
    }
    assert_eq!(order["metadata"], json!({}));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_comes_back_in_utc_to_the_microsecond() {
    let system = System::start().await;

    for (sent, told) in [
        ("2031-01-31T08:00:00Z", "2031-01-31T08:00:00Z"),
        ("2031-01-31T08:00:00.1234567+02:00", "2031-01-31T06:00:00.123456Z"),
        ("9999-12-31T00:00:00Z", "9999-12-31T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ("1970-01-01T00:00:00.000001Z", "1970-01-01T00:00:00.000001Z"),
    ] {
        let reply = system.post("/orders", &with(json!({"process_after": sent})).to_string()).await;

        assert_eq!(reply.status, 201, "{reply:?}");
        assert_eq!(reply.json()["process_after"], told);
        assert_eq!(stored(&system, &reply).await, reply.json());
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_has_the_decimals_of_its_currency_at_most() {
    let system = System::start().await;

    for (currency, sent, told) in [
        (json!("JPY"), "100", Some("100.0")),
        (json!("JPY"), "100.000", Some("100.0")),
        (json!("JPY"), "0.5", None),
        (json!("EUR"), "129.90", Some("129.9")),
        (json!("EUR"), "12345678901234.56", Some("12345678901234.56")),
        (json!("EUR"), "0.001", None),
        (json!("KWD"), "1.234", Some("1.234")),
        (json!("KWD"), "1.2345", None),
        (Value::Null, "1.2345", Some("1.2345")),
    ] {
        let order = format!(r#"{{"user_id": 1, "item_ids": [1], "total_amount": {sent}, "currency": {currency}}}"#);
        let reply = system.post("/orders", &order).await;

        if let Some(told) = told {
            assert_eq!((reply.status, reply.amounts()), (201, vec![told]), "{order}");
            assert_eq!(stored(&system, &reply).await["currency"], currency);
        } else {
            assert_eq!(reply.faults(422), faults(&[("/total_amount", "too_many_decimals")]), "{order}");
        }
    }
    assert_eq!(system.database.orders().await, 6);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_label_is_refused_by_its_name_and_nothing_is_stored() {
    let system = System::start().await;

    for (field, value, code) in [
        ("currency", json!("eur"), "not_a_currency"),
        ("currency", json!("ABC"), "not_a_currency"),
        ("currency", json!("EURO"), "not_a_currency"),
        ("currency", json!(""), "not_a_currency"),
        ("currency", json!("€"), "not_a_currency"),
        ("currency", json!(978), "not_a_string"),
        ("external_id", json!(""), "too_short"),
        ("external_id", json!("😀".repeat(65)), "too_long"),
        ("external_id", json!(" a"), "bad_character"),
        ("external_id", json!("a "), "bad_character"),
        ("external_id", json!("a\u{a0}"), "bad_character"),
        ("external_id", json!("a\u{0}b"), "bad_character"),
        ("external_id", json!(7), "not_a_string"),
        ("metadata", json!([]), "not_an_object"),
        ("metadata", json!("a"), "not_an_object"),
        ("process_after", json!("tomorrow"), "not_a_time"),
        ("process_after", json!(1_900_000_000), "not_a_time"),
        ("process_after", json!("1969-12-31T23:59:59Z"), "out_of_range"),
        ("process_after", json!("2031-01-31T23:59:60Z"), "out_of_range"),
    ] {
        let reply = system.post("/orders", &with(json!({field: value})).to_string()).await;

        assert_eq!(reply.faults(422), faults(&[(&format!("/{field}"), code)]), "{value}");
    }
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_named_beside_the_others() {
    let system = System::start().await;
    let order = json!({
        "user_id": 0,
        "item_ids": [1, 0],
        "total_amount": 0.5,
        "currency": "JPY",
        "external_id": " a",
        "metadata": {"": "a", "b/~": 3},
        "process_after": "tomorrow",
        "note": "extra"
    });

    let mut named = system.post("/orders", &order.to_string()).await.faults(422);

    named.sort();
    let expected = [
        ("/external_id", "bad_character"),
        ("/item_ids/1", "too_small"),
        ("/metadata/", "too_short"),
        ("/metadata/b~1~0", "not_a_string"),
        ("/note", "unknown"),
        ("/process_after", "not_a_time"),
        ("/total_amount", "too_many_decimals"),
        ("/user_id", "too_small"),
    ];
    assert_eq!(named, faults(&expected));
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_taken_up_to_its_limits_however_it_is_written() {
    let system = System::start().await;
    let most: Value = (0..50).map(|n| (format!("{n:€>40}"), json!("😀".repeat(50)))).collect();
    let longest = json!({"a": "😀".repeat(500), "b": "a".repeat(500)});
    for metadata in [most, longest] {
        assert_is_taken(&system, &metadata).await;
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_is_none_is_refused() {
    let system = System::start().await;

    for time in [
        json!("tomorrow"),
        json!(5),
        json!("2030-01-31T08:00:00"),
        json!("2030-12-31T23:59:60Z"),
        json!("0001-01-01T00:00:00Z"),
    ] {
        let mut order = sample::order();
        order["process_after"] = time;
        let problem = system.post("/order/create-order", &order.to_string()).await.assert_problem(422);
        assert_eq!(problem["errors"][0]["pointer"], "/process_after", "{problem}");
    }
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

async fn assert_is_taken(api: &Api, largest: &Value) {
    let plain = with(json!({"metadata": largest})).to_string();
    let escaped = plain.replace('😀', r"\ud83d\ude00");

    for order in [plain, escaped] {
        let reply = api.post("/orders", &order).await;

        assert_eq!(reply.status, 201, "{}", reply.text);
        assert_eq!(stored(api, &reply).await["metadata"], *largest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_more_bytes_than_its_limit_is_refused_once_however_it_is_written() {
    const BYTES_MAX: usize = 16_384;
    let system = System::start().await;
    let metadata = |bytes: usize| {
        let mut pairs: serde_json::Map<_, _> = (10..42).map(|n| (n.to_string(), json!("é".repeat(250)))).collect();
        let used = Value::from(pairs.clone()).to_string().len() + r#","z":"#.len() + 2;
        pairs.insert("z".to_owned(), json!("a".repeat(bytes - used)));
        let metadata = Value::from(pairs);
        assert_eq!(metadata.to_string().len(), bytes);
        metadata
    };

    for (bytes, status) in [(BYTES_MAX, 201), (BYTES_MAX + 1, 422)] {
        let plain = with(json!({"metadata": metadata(bytes)})).to_string();
        for order in [plain.replace('é', r"\u00e9"), plain.replace(':', " : "), plain] {
            let reply = system.post("/orders", &order).await;

            assert_eq!(reply.status, status, "{bytes}: {}", reply.text);
            if status == 422 {
                assert_eq!(reply.faults(422), faults(&[("/metadata", "too_large")]));
            }
        }
    }
    let huge: Value = (0..50).map(|n| (format!("{n:😀>40}"), json!("😀".repeat(500)))).collect();
    let reply = system.post("/orders", &with(json!({"metadata": huge})).to_string()).await;
    assert_eq!(reply.faults(422), faults(&[("/metadata", "too_large")]));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_countless_entries_or_long_names_is_refused_by_a_small_answer() {
    let system = System::start().await;
    let before = system.api.memory_peak();
    let many = |of: &str| vec![of; (4_000_000) / (of.len() + 1)].join(",");
    let names: Vec<_> = (0..200).map(|n| format!("\"{n}{}\":1", r"\u0001".repeat(200))).collect();

    for body in [
        format!(r#"{{"orders": [{}]}}"#, many("1")),
        format!(r#"{{"orders": [{{"item_ids": [{}]}}]}}"#, many("1")),
        format!(r#"{{"orders": [1], {}}}"#, many(r#""":1"#)),
        format!("{{{}}}", names.join(",")),
    ] {
        let reply = system.post("/orders/batch", &body).await;

        let _ = reply.assert_problem(422);
        assert!(reply.text.len() < 16 << 10, "{} bytes", reply.text.len());
    }
    // The body itself, twice while it grows.
    let grown = system.api.memory_peak() - before;
    assert!(grown < 20 << 20, "{grown} bytes");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_beyond_a_limit_is_refused() {
    let system = System::start().await;
    let pairs = |count| (10..10 + count).map(|n| format!("\"{n}\": \"\"")).collect::<Vec<_>>().join(", ");

    for (metadata, pointer, code) in [
        (format!("{{{}}}", pairs(51)), "/metadata/60".to_owned(), "too_many"),
        (format!("{{\"{}\": \"\"}}", "ü".repeat(41)), format!("/metadata/{}", "ü".repeat(41)), "too_long"),
        (format!("{{\"a\": \"{}\"}}", "😀".repeat(501)), "/metadata/a".to_owned(), "too_long"),
        (r#"{"a": "1", "b": "2", "\u0061": "1"}"#.to_owned(), "/metadata/a".to_owned(), "duplicate"),
        (r#"{"a": null}"#.to_owned(), "/metadata/a".to_owned(), "not_a_string"),
        (r#"{"a": 1}"#.to_owned(), "/metadata/a".to_owned(), "not_a_string"),
        (r#"{"a": {}}"#.to_owned(), "/metadata/a".to_owned(), "not_a_string"),
        (r#"{"a": "\ud83d"}"#.to_owned(), "/metadata/a".to_owned(), "not_a_string"),
    ] {
        let order = format!(r#"{{"user_id": 1, "item_ids": [1], "total_amount": 1, "metadata": {metadata}}}"#);
        let reply = system.post("/orders", &order).await;

        assert_eq!(reply.faults(422), faults(&[(&pointer, code)]), "{metadata:.80}");
    }
    assert_eq!(system.database.orders().await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_its_limit_is_refused() {
    let system = System::start().await;

    for (path, body, limit) in
        [("/orders", sample::order(), 512 << 10), ("/orders/batch", json!({"orders": [sample::order()]}), 4 << 20)]
    {
        let body = body.to_string();
        let padded = |bytes: usize| body.clone() + &" ".repeat(bytes - body.len());

        let largest = system.post(path, &padded(limit)).await;
        let too_large = system.post(path, &padded(limit + 1)).await;

        assert_eq!(largest.status, 201, "{largest:?}");
        let _ = too_large.assert_problem(413);
    }
    assert_eq!(system.database.orders().await, 2);
    system.end().await;
}

/// The sample order with these fields besides, or instead.
fn with(fields: Value) -> Value {
    let mut order = sample::order();
    let Value::Object(fields) = fields else { panic!("no fields: {fields}") };
    order.as_object_mut().unwrap().extend(fields);
    order
}

/// The placed order, as it is read back.
async fn stored(api: &Api, reply: &Reply) -> Value {
    let stored = api.get(&format!("/orders/{}", sample::id(&reply.json()))).await;
    assert_eq!(stored.status, 200, "{stored:?}");
    stored.json()
}

fn faults(faults: &[(&str, &str)]) -> Vec<(String, String)> {
    faults.iter().map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned())).collect()
}
