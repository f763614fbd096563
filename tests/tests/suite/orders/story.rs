//! The story of an order, page by page.

use orders_tests::{Api, Database, OwnServer, Reply, System};
use serde_json::Value;
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_tell_each_event_once_the_oldest_first() {
    let system = System::start().await;
    for end in ["PENDING", "PROCESSING", "COMPLETED", "FAILED"] {
        let order_id = system.place(&sample::order()).await;
        // Some events share a moment, and every third was caused by a person.
        add(&system.database, order_id, 40, "'an error'").await;
        set_status(&system.database, order_id, end).await;

        let (whole, pages) = walk(&system, order_id, 1000).await;
        let by_row = match end {
            "PROCESSING" => 1,
            "COMPLETED" => 2,
            _ => 0,
        };
        assert_eq!((whole.len(), pages), (1 + 40 + 27 + by_row, 1), "{end}");
        for limit in [1, 2, 3, 7, 67, 68, 69, 70, 100] {
            let (told, pages) = walk(&system, order_id, limit).await;

            assert_eq!(told, whole, "{end}, {limit}");
            assert_eq!(pages, whole.len().div_ceil(limit), "{end}, {limit}");
        }
    }
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_between_two_pages_is_told_once() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;
    add(&system.database, order_id, 3, "null").await;

    let (mut told, mut cursor) = (Vec::new(), None);
    for step in 0..30 {
        let (events, next) = read(&page(&system, order_id, 1, cursor.as_deref()).await, 1);
        told.extend(events);
        // The claim is first told from the row, and later from a stored event.
        match step {
            1 => set_status(&system.database, order_id, "PROCESSING").await,
            3 => add(&system.database, order_id, 5, "null").await,
            5 => set_status(&system.database, order_id, "COMPLETED").await,
            _ => {}
        }
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }

    assert_eq!(told, walk(&system, order_id, 1000).await.0);
    assert_eq!(told.iter().filter(|event| event["event"] == "completed").count(), 1);
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_long_errors_ends_by_its_bytes() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;
    add(&system.database, order_id, 1_500, "repeat('\u{1f600}', 1000)").await;

    let reply = page(&system, order_id, 1000, None).await;
    let (told, pages) = walk(&system, order_id, 1000).await;

    assert!(reply.text.len() < 2 << 20, "{} bytes", reply.text.len());
    assert_eq!(told.len(), 1 + 1_500 + 1_000);
    assert!((4..=6).contains(&pages), "{pages} pages");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_events_costs_what_it_holds() {
    let system = System::on(OwnServer::start(&[]).await, &[]).await;
    let order_id = system.place(&sample::order()).await;
    add(&system.database, order_id, 5_000, "null").await;
    system.database.execute("analyze table orders.order_events").await;

    let (mut cursor, mut costs) = (None, Vec::new());
    loop {
        let mut next = None;
        let cost = sample::reads_of(&system.database, async {
            next = read(&page(&system, order_id, 1000, cursor.as_deref()).await, 1000).1;
        });
        costs.push(cost.await);
        match next {
            None => break,
            next => cursor = next,
        }
    }

    assert_eq!(costs.len(), 9, "{costs:?}");
    assert!(costs.iter().all(|cost| *cost < 1_000 + 500), "{costs:?}");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_was_changed_or_is_another_orders_is_refused() {
    let system = System::start().await;
    let (order_id, other) = (system.place(&sample::order()).await, system.place(&sample::order()).await);
    add(&system.database, order_id, 3, "null").await;
    let cursor = read(&page(&system, order_id, 1, None).await, 1).1.unwrap();
    let of_a_list = system.get("/orders?limit=1").await.json()["next_cursor"].as_str().unwrap().to_owned();

    for place in 0..cursor.len() {
        let mut changed = cursor.clone();
        changed.replace_range(place..=place, if cursor.as_bytes()[place] == b'a' { "b" } else { "a" });
        assert_refused(&system, order_id, &changed).await;
    }
    for garbage in ["", "0", "é", &cursor[1..], &format!("{cursor}0"), &of_a_list, &"0".repeat(2000)] {
        assert_refused(&system, order_id, garbage).await;
    }
    assert_refused(&system, other, &cursor).await;
    for limit in ["0", "1001", "many", ""] {
        let problem = system.get(&format!("/orders/{order_id}/events?limit={limit}")).await.assert_problem(400);
        assert!(problem["detail"].as_str().unwrap().contains("`limit`"), "{problem}");
    }
    assert_eq!(page(&system, order_id, 1, Some(&cursor)).await.status, 200);
    system.end().await;
}

async fn assert_refused(api: &Api, order_id: Uuid, cursor: &str) {
    let problem = page(api, order_id, 5, Some(cursor)).await.assert_problem(400);
    assert_eq!(problem["type"], "/problems/invalid-cursor", "{cursor}");
}

/// Adds stored events to an order, two per moment. One of three was caused by a person, the others ended an attempt.
async fn add(database: &Database, order_id: Uuid, count: u32, error: &str) {
    let id = order_id.simple();
    let sql = format!(
        "insert into order_events (order_id, at, event_id, event, attempt, claimed_at, duration_us, error)
        with
            digits as (
                select 0 as d union all select 1 union all select 2 union all select 3 union all select 4
                union all select 5 union all select 6 union all select 7 union all select 8 union all select 9
            ),
            numbers as (
                select a.d + 10 * b.d + 100 * c.d + 1000 * d.d as n
                from digits as a, digits as b, digits as c, digits as d
            ),
            times as (
                select n, (select coalesce(max(at), timestamp '2026-01-01 00:00:00') from order_events where order_id = x'{id}')
                    + interval (1 + n div 2) second as at
                from numbers
                where n < {count}
            )
        select
            x'{id}', at, unhex(left(sha2(concat(n, at), 256), 32)),
            if(n % 3 = 2, 'RETRIED', 'ATTEMPT_FAILED'), if(n % 3 = 2, null, n),
            if(n % 3 = 2, null, at - interval 500000 microsecond), if(n % 3 = 2, null, 500000), {error}
        from times"
    );
    database.execute(&sql).await;
}

async fn set_status(database: &Database, order_id: Uuid, status: &str) {
    let never = "timestamp '9999-12-31 00:00:00'";
    let (due, claimed) = match status {
        "PENDING" => ("now(6)", never),
        "FAILED" => (never, never),
        _ => (never, "now(6)"),
    };
    let sql = format!(
        "update orders set status = '{status}', available_at = {due}, claim_token = repeat('c', 16), claimed_at = {claimed},
            updated_at = now(6) + interval 1 second, attempt = 7
        where order_id = x'{}'",
        order_id.simple()
    );
    database.execute(&sql).await;
}

async fn page(api: &Api, order_id: Uuid, limit: usize, cursor: Option<&str>) -> Reply {
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    api.get(&format!("/orders/{order_id}/events?limit={limit}{cursor}")).await
}

/// The events of a page, at most `limit`, and the cursor of the next page.
fn read(page: &Reply, limit: usize) -> (Vec<Value>, Option<String>) {
    assert_eq!(page.status, 200, "{page:?}");
    let body = page.json();
    let events = body["events"].as_array().unwrap().clone();
    assert!(!events.is_empty() && events.len() <= limit, "{page:?}");
    (events, body["next_cursor"].as_str().map(str::to_owned))
}

/// The whole story, and how many pages it has.
async fn walk(api: &Api, order_id: Uuid, limit: usize) -> (Vec<Value>, usize) {
    let (mut told, mut pages, mut cursor) = (Vec::new(), 0, None);
    loop {
        let (events, next) = read(&page(api, order_id, limit, cursor.as_deref()).await, limit);
        told.extend(events);
        pages += 1;
        cursor = next;
        if cursor.is_none() {
            return (told, pages);
        }
    }
}
