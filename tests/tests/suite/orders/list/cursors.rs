//! Following a list page by page.

use orders_tests::{Api, System};
use serde_json::{Value, json};

use super::seeds::{Filter, Seed, all, filters, matching, page, read, seed, walk};
use crate::rows::insert;
use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn pages_visit_each_order_once_while_orders_stream_in() {
    let system = System::start().await;
    seed(&system.database, 120).await;

    for filters in filters(&all(&system.database).await) {
        // They include the orders that were placed while the lists before were read.
        let expected = matching(&all(&system.database).await, &filters);
        let (mut visited, mut cursor, mut is_last) = (Vec::new(), None, false);
        while !is_last {
            let (ids, next) = read(&page(&system, &filters, 25, cursor.as_deref()).await, 25);
            visited.extend(ids);
            is_last = next.is_none();
            cursor = next;
            let batch = json!({"orders": [scheduled("2001-01-01T00:00:00Z"), scheduled("2031-01-01T00:00:00Z")]});
            assert_eq!(system.post("/orders/batch", &batch.to_string()).await.status, 201);
        }

        assert_eq!(visited, expected, "{filters:?}");
    }
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_changes_between_two_pages_hides_no_other() {
    let system = System::start().await;
    let mut placed = Vec::new();
    for _ in 0..10 {
        placed.push(system.place(&sample::order()).await);
    }
    placed.reverse();
    let pending = [Filter::Status("PENDING")];

    let (first, cursor) = read(&page(&system, &pending, 4, None).await, 4);
    for canceled in [placed[0], placed[3], placed[4], placed[9]] {
        system.post(&format!("/orders/{canceled}/cancel"), "").await;
    }
    let (second, _) = read(&page(&system, &pending, 10, cursor.as_deref()).await, 10);

    assert_eq!(first, placed[..4]);
    assert_eq!(second, placed[5..9]);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_may_be_of_another_size_than_the_one_before() {
    let system = System::start().await;
    seed(&system.database, 100).await;
    let newest = matching(&all(&system.database).await, &[]);

    let (first, cursor) = read(&page(&system, &[], 3, None).await, 3);
    let (second, _) = read(&page(&system, &[], 60, cursor.as_deref()).await, 60);

    assert_eq!((first.as_slice(), second.as_slice()), (&newest[..3], &newest[3..63]));
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_was_changed_or_is_another_lists_is_refused() {
    let system = System::start().await;
    seed(&system.database, 100).await;
    let seeds = all(&system.database).await;
    let user = [Filter::User(1)];
    let (_, cursor) = read(&page(&system, &user, 5, None).await, 5);
    let cursor = cursor.unwrap();

    for place in 0..cursor.len() {
        let mut changed = cursor.clone();
        changed.replace_range(place..=place, if cursor.as_bytes()[place] == b'a' { "b" } else { "a" });
        assert_refused(&system, &user, &changed).await;
    }
    for garbage in
        ["", "0", "é", "null", &cursor[1..], &format!("{cursor}0"), &cursor.to_uppercase(), &"0".repeat(2000)]
    {
        assert_refused(&system, &user, garbage).await;
    }
    for other in filters(&seeds).into_iter().filter(|other| !matches!(other.as_slice(), [Filter::User(1)])) {
        assert_refused(&system, &other, &cursor).await;
    }
    let _ = system.get(&format!("/order/status/PENDING?cursor={cursor}")).await.assert_problem(400);
    assert_eq!(page(&system, &user, 5, Some(&cursor)).await.status, 200);
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_orders_among_many_are_all_found_on_a_bounded_number_of_pages() {
    let system = System::start().await;
    let (older, newer) =
        ("timestamp '2026-01-01 00:00:00' + interval n second", "timestamp '2026-02-01 00:00:00' + interval n second");
    insert(&system.database, 10_500, "'PENDING'", "8", older, "null").await;
    insert(&system.database, 10_500, "if(n % 2500 = 7, 'PENDING', 'COMPLETED')", "7", newer, "null").await;
    let seeds = all(&system.database).await;

    let few = [Filter::Status("PENDING"), Filter::User(7)];
    assert_walk(&system, &seeds, &few, 2, 2 + 3).await;
    assert_walk(&system, &seeds, &[Filter::Status("COMPLETED"), Filter::User(8)], 200, 3).await;
    assert_walk(&system, &seeds, &[Filter::Status("PENDING")], 200, 10_505_usize.div_ceil(200) + 3).await;
    system.end_uncounted();
}

async fn assert_walk(api: &Api, seeds: &[Seed], filters: &[Filter], limit: u16, pages_max: usize) {
    let (visited, pages) = walk(api, filters, limit).await;

    assert_eq!(visited, matching(seeds, filters), "{filters:?}");
    assert!(pages <= pages_max, "{filters:?}: {pages} pages");
}

async fn assert_refused(api: &Api, filters: &[Filter], cursor: &str) {
    let problem = page(api, filters, 5, Some(cursor)).await.assert_problem(400);
    assert!(problem["detail"].as_str().unwrap().contains("`cursor`"), "{cursor}: {problem}");
}

fn scheduled(process_after: &str) -> Value {
    json!({"user_id": 1, "item_ids": [1, 2], "total_amount": 100.0, "process_after": process_after})
}
