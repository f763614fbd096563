//! Which orders a list shows, and in which order.

use chrono::TimeDelta;
use orders_tests::System;
use serde_json::json;

use super::seeds::{Filter, all, filters, matching, page, read, seed, walk};
use crate::rows::insert;
use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_alone_and_with_each_other_shows_its_orders_newest_first() {
    let system = System::start().await;
    seed(&system.database, 300).await;
    let seeds = all(&system.database).await;

    for filters in filters(&seeds) {
        let (visited, pages) = walk(&system, &filters, 23).await;

        let expected = matching(&seeds, &filters);
        assert_eq!(visited, expected, "{filters:?}");
        assert_eq!(pages, expected.len().div_ceil(23).max(1), "{filters:?}");
    }
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_filters_together_show_what_matches_all() {
    let system = System::start().await;
    seed(&system.database, 300).await;
    let seeds = all(&system.database).await;
    let one = &seeds.iter().find(|seed| seed.external_id.is_some() && seed.status == "FAILED").unwrap();
    let second = TimeDelta::seconds(1);
    let mut filters = vec![
        Filter::Status("FAILED"),
        Filter::User(one.user_id),
        Filter::After(one.created_at - second),
        Filter::Before(one.created_at + second),
    ];

    let (without_external_id, _) = walk(&system, &filters, 2).await;
    filters.push(Filter::ExternalId(one.external_id.clone().unwrap()));
    let (with_external_id, _) = walk(&system, &filters, 2).await;

    assert_eq!(without_external_id, matching(&seeds, &filters[..4]));
    assert_eq!(with_external_id, [one.order_id]);
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_times_of_a_list_are_exclusive_to_the_microsecond() {
    let system = System::start().await;
    let created_at = "timestamp '2026-01-01 00:00:00.999998' + interval n microsecond";
    insert(&system.database, 5, "elt(1 + n % 2, 'PENDING', 'FAILED')", "1", created_at, "null").await;
    let seeds = all(&system.database).await;
    let (newest, oldest) = (seeds[0].created_at, seeds[4].created_at);
    let middle: Vec<_> = seeds[1..4].iter().map(|seed| seed.order_id).collect();

    let between = [Filter::After(oldest), Filter::Before(newest)];
    let (without, _) = walk(&system, &between, 50).await;
    let (one_by_one, _) = walk(&system, &between, 1).await;
    let microsecond = TimeDelta::microseconds(1);
    let (with, _) =
        walk(&system, &[Filter::After(oldest - microsecond), Filter::Before(newest + microsecond)], 50).await;
    let (none, _) = walk(&system, &[Filter::After(newest), Filter::Before(oldest)], 50).await;

    assert_eq!((without, one_by_one), (middle.clone(), middle));
    assert_eq!(with, matching(&seeds, &[]));
    assert!(none.is_empty(), "{none:?}");
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_may_stand_in_any_zone() {
    let system = System::start().await;
    insert(&system.database, 1, "'FAILED'", "1", "timestamp '2026-01-01 00:00:00.5'", "null").await;

    for (query, count) in [
        ("created_after=2026-01-01T00:00:00.4Z", 1),
        ("created_after=2026-01-01T01:00:00.4%2B01:00", 1),
        ("created_after=2026-01-01T01:00:00.5%2B01:00", 0),
        ("created_before=2025-12-31T23:00:00.6-01:00", 1),
        ("created_before=1970-01-01T00:00:00Z", 0),
        ("created_before=9999-12-31T23:59:59.999999Z", 1),
        ("created_after=1970-01-01T00:00:00Z&created_before=9999-12-31T23:59:59.999999Z", 1),
    ] {
        let reply = system.get(&format!("/orders?{query}")).await;

        assert_eq!(read(&reply, 50).0.len(), count, "{query}");
    }
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_named_in_any_letter_case_wherever_it_is_asked_for() {
    let system = System::start().await;
    seed(&system.database, 60).await;
    let failed = matching(&all(&system.database).await, &[Filter::Status("FAILED")]);
    let first = &system.get("/orders?status=FAILED&limit=1").await.json()["next_cursor"];

    for name in ["FAILED", "failed", "Failed", "fAILED"] {
        let (listed, _) = read(&system.get(&format!("/orders?status={name}")).await, 50);
        let next = &system.get(&format!("/orders?status={name}&limit=1")).await.json()["next_cursor"];
        let by_path = system.get(&format!("/order/status/{name}")).await;

        assert_eq!(listed, failed, "{name}");
        assert_eq!(next, first, "a cursor is good for each spelling");
        assert_eq!(by_path.json().as_array().map(Vec::len), Some(failed.len()), "{name}");
    }
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_50_orders_and_200_at_most() {
    let system = System::start().await;
    seed(&system.database, 260).await;
    let newest = matching(&all(&system.database).await, &[]);

    for (query, count) in [("", 50), ("?limit=1", 1), ("?limit=200", 200)] {
        let reply = system.get(&format!("/orders{query}")).await;

        let (ids, next) = read(&reply, 200);
        assert_eq!(ids, newest[..count], "{query}");
        assert!(next.is_some());
    }
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_last_page_leads_nowhere() {
    let system = System::start().await;
    seed(&system.database, 10).await;

    for filters in [vec![], vec![Filter::Status("PENDING")], vec![Filter::Status("FAILED")], vec![Filter::User(1)]] {
        let count = matching(&all(&system.database).await, &filters).len();
        let (ids, next) = read(&page(&system, &filters, count.try_into().unwrap(), None).await, 10);

        assert_eq!((ids.len(), next), (count, None), "{filters:?}");
    }
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_list_cannot_be_asked_for_is_refused_by_the_name_of_the_parameter() {
    let system = System::start().await;

    for query in [
        "status=DONE",
        "status=",
        "user_id=0",
        "user_id=-1",
        "user_id=one",
        "user_id=9223372036854775808",
        "external_id=",
        "external_id=%20a",
        "external_id=a%00",
        &format!("external_id={}", "a".repeat(65)),
        "created_after=yesterday",
        "created_before=2026-01-01",
        "created_before=1969-12-31T23:59:59Z",
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=many",
        "limit=",
    ] {
        let problem = system.get(&format!("/orders?{query}")).await.assert_problem(400);

        let name = query.split('=').next().unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(&format!("`{name}`")), "{query}: {problem}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_listed_as_it_is_read_alone() {
    let system = System::start().await;
    let order = json!({
        "user_id": 1, "item_ids": [3, 1, 3], "total_amount": 0.10, "currency": "EUR", "external_id": "a",
        "metadata": {"a": "b"}, "process_after": "2031-01-01T00:00:00Z"
    });
    let placed = system.post("/orders", &order.to_string()).await.json();
    system.place(&sample::order()).await;

    let listed = system.get("/orders").await.json();

    assert_eq!(listed["orders"][1], placed);
    assert_eq!(listed["next_cursor"], json!(null));
    system.end().await;
}
