//! Lists of orders that are large: where their pages end, and what is read for them.

use orders_tests::{Database, OwnServer, Reply, System};
use serde_json::Value;
use uuid::Uuid;

use super::seeds::{Filter, all, matching, page, read, seed};
use crate::rows::insert;
use crate::sample;

/// A page ends near 1 MiB; beyond that it may have one order more, and the names of its fields.
const PAGE_MAX: usize = 2 << 20;

/// An object of 16 KiB, and an array of the most items with the most digits.
const METADATA: &str = "metadata = json_object('a', repeat('x', 16000))";
const ITEMS: &str = "item_ids = concat('[', repeat('9223372036854775807, ', 999), '1]')";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_orders_ends_by_its_bytes_and_the_pages_show_each_order_once() {
    let system = System::start().await;
    seed(&system.database, 300).await;
    change(&system.database, &format!("{METADATA}, {ITEMS}")).await;
    let seeds = all(&system.database).await;

    for filters in [
        vec![],
        vec![Filter::Status("PENDING")],
        vec![Filter::Status("PROCESSING")],
        vec![Filter::Status("COMPLETED")],
        vec![Filter::User(1)],
        vec![Filter::Status("PENDING"), Filter::User(1)],
        vec![Filter::Status("FAILED"), Filter::User(2)],
        vec![Filter::Before(seeds[20].created_at)],
    ] {
        let (mut visited, mut pages, mut cursor) = (Vec::new(), 0, None);
        loop {
            let reply = page(&system, &filters, 200, cursor.as_deref()).await;
            assert!(reply.text.len() < PAGE_MAX, "{filters:?}: {} bytes", reply.text.len());
            let (ids, next) = read(&reply, 200);
            visited.extend(ids);
            pages += 1;
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }

        let expected = matching(&seeds, &filters);
        assert_eq!(visited, expected, "{filters:?}");
        // Each order has some 37 kB.
        assert!((expected.len() / 50..=1 + expected.len() / 10).contains(&pages), "{filters:?}: {pages} pages");
    }
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_list_of_large_orders_ends_by_its_bytes_and_links_the_rest() {
    let system = System::start().await;
    seed(&system.database, 600).await;
    change(&system.database, ITEMS).await;
    let seeds = all(&system.database).await;

    for status in ["PENDING", "PROCESSING", "COMPLETED", "FAILED", "CANCELED"] {
        let (mut visited, mut pages) = (Vec::new(), 0);
        let mut next = Some(format!("/order/status/{status}?limit=1000"));
        while let Some(path) = next {
            let reply = system.get(&path).await;
            assert!(reply.status == 200 && reply.text.len() < PAGE_MAX, "{}: {} bytes", reply.status, reply.text.len());
            visited.extend(listed(&reply));
            pages += 1;
            next = link(&reply);
        }

        assert_eq!(visited, matching(&seeds, &[Filter::Status(status)]), "{status}");
        assert!((2..=8).contains(&pages), "{status}: {pages} pages");
    }
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_larger_than_a_page_is_a_page_by_itself() {
    let system = System::start().await;
    seed(&system.database, 10).await;
    // No release accepts orders of this size; the test is only about pages never being empty.
    change(&system.database, "metadata = json_object('a', repeat('x', 2000000))").await;
    let seeds = all(&system.database).await;

    let (mut visited, mut cursor) = (Vec::new(), None);
    for _ in 0..10 {
        let (ids, next) = read(&page(&system, &[], 50, cursor.as_deref()).await, 1);
        visited.extend(ids);
        cursor = next;
    }

    assert_eq!((visited, cursor), (matching(&seeds, &[]), None));
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_list_reads_no_metadata() {
    const ORDERS: u32 = 90;
    let system = System::on(OwnServer::start(&[]).await, &[]).await;
    let created_at = "timestamp '2026-01-01 00:00:00' + interval n second";
    insert(&system.database, ORDERS, "'COMPLETED'", "1", created_at, "null").await;
    change(&system.database, METADATA).await;

    let short = bytes_of(&system.database, async {
        assert_eq!(listed(&system.get("/order/status/COMPLETED").await).len(), 90);
    })
    .await;
    let whole = bytes_of(&system.database, async {
        assert_eq!(read(&page(&system, &[], 90, None).await, 90).0.len(), 90);
    })
    .await;

    assert!(short < u64::from(ORDERS) * 500, "{short} bytes");
    assert!(whole > u64::from(ORDERS) * 16_000, "{whole} bytes");
    system.end_uncounted();
}

/// Changes all orders.
async fn change(database: &Database, to: &str) {
    database.execute(&format!("update orders set {to}")).await;
}

/// What the server sends during a request.
async fn bytes_of(server: &Database, request: impl Future<Output = ()>) -> u64 {
    let before = sent(server).await;
    request.await;
    sent(server).await - before
}

async fn sent(server: &Database) -> u64 {
    let sent: (String, String) =
        sqlx::query_as("show global status like 'Bytes_sent'").fetch_one(&server.pool).await.unwrap();
    sent.1.parse().unwrap()
}

fn listed(reply: &Reply) -> Vec<Uuid> {
    let body = reply.json();
    body.as_array()
        .unwrap_or_else(|| panic!("no list: {reply:?}"))
        .iter()
        .map(|order: &Value| sample::id(order))
        .collect()
}

/// The path of the next page (RFC 8288).
fn link(reply: &Reply) -> Option<String> {
    let (path, _) = reply.header("link")?.strip_prefix('<')?.split_once('>')?;
    Some(path.to_owned())
}
