//! What a page costs: the rows and index entries that the server reads for it.

use orders_tests::{Api, OwnServer, System};

use super::seeds::{Filter, page, read};
use crate::rows::insert;
use crate::sample::reads_of;

/// More than the limit of any query that reads ahead of it, and what else the server reads for a request.
const SLACK: u64 = 100;

/// Orders of a page, each of which may be read by its index and in its table.
const LIMIT: u16 = 200;
const PAGE_MAX: u64 = 2 * (LIMIT as u64 + 1) + SLACK;

/// The most that is scanned where no index covers all filters: to count, to find the end, and to read up to it.
const WALK_MAX: u64 = 4 * 5_000 + PAGE_MAX;

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_a_list_costs_what_the_first_one_costs() {
    let system = System::on(OwnServer::start(&[]).await, &[]).await;
    // A third of them was imported at one moment.
    let created_at = "timestamp '2026-01-01 00:00:00' + interval if(n between 10000 and 19999, 10000, n) second";
    let status = "if(n % 21 = 20, 'PENDING', 'COMPLETED')";
    insert(&system.database, 30_000, status, "1 + n % 2", created_at, "concat('e', n)").await;
    system.database.execute("analyze table orders.orders").await;
    let time = |text: &str| text.parse().unwrap();

    for (filters, cost_max) in [
        (vec![], PAGE_MAX),
        (vec![Filter::Status("COMPLETED")], PAGE_MAX),
        (vec![Filter::User(1)], PAGE_MAX),
        (vec![Filter::After(time("2026-01-01T01:00:00")), Filter::Before(time("2026-01-01T03:00:00"))], PAGE_MAX),
        (vec![Filter::User(1), Filter::Before(time("2026-01-01T02:00:00"))], PAGE_MAX),
        (vec![Filter::Status("PENDING")], WALK_MAX),
        (vec![Filter::Status("COMPLETED"), Filter::User(1)], WALK_MAX),
        (vec![Filter::ExternalId("e7".to_owned())], PAGE_MAX),
    ] {
        let pages = costs(&system.database, &system, &filters).await;

        let (first, most) = (pages[0], pages.iter().copied().max().unwrap());
        assert!(first <= cost_max, "{filters:?}: the first page read {first}");
        assert!(most <= first + SLACK, "{filters:?}: the first page read {first}, the dearest one {most}");
    }
    system.end_uncounted();
}

/// What the server reads for each page of a list.
async fn costs(server: &OwnServer, api: &Api, filters: &[Filter]) -> Vec<u64> {
    let (mut costs, mut cursor) = (Vec::new(), None);
    loop {
        let mut next = None;
        let cost = reads_of(server, async {
            next = read(&page(api, filters, LIMIT, cursor.as_deref()).await, LIMIT).1;
        });
        costs.push(cost.await);
        match next {
            None => return costs,
            next => cursor = next,
        }
    }
}
