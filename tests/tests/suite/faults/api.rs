//! The API killed while clients post.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orders_tests::{Api, Database, History, System, wait_until};
use uuid::Uuid;

use super::under_load::WORK;
use crate::clients::{Addresses, Clients, Orders, SentOrder};

const KILLS: usize = 20;

/// On its way to the database and back an order takes twice as long, so each kill meets some.
const DELAY: Duration = Duration::from_millis(10);

#[tokio::test(flavor = "multi_thread")]
async fn an_api_killed_again_and_again_while_clients_post_has_stored_all_that_it_accepted_and_nothing_by_halves() {
    let system = System::start_behind_proxy(&[]).await;
    History::record(&system.database.pool).await;
    system.proxy.delay(DELAY);
    let worker = system.start_worker(&WORK).await;
    let addresses = Addresses::default();
    let mut api = system.api.clone();
    addresses.set(0, api.url(""));
    let clients = Clients::start(&addresses);

    for _ in 0..KILLS {
        wait_until_more_are_placed(&system.database).await;
        api.kill();
        api = Api::start_unready(&system.proxy.url, &[]).await;
        addresses.set(0, api.url(""));
    }
    wait_until_more_are_placed(&system.database).await;
    let orders = clients.stop().await;

    system.database.wait_until_none_is_open().await;
    History::assert_is_sound(&system.database.pool, &orders.accepted, orders.unanswered).await;
    // Each kill costs each client at most one answer.
    assert!(orders.accepted.len() > KILLS * 10, "{} accepted", orders.accepted.len());
    assert_all_are_as_sent(&system.database, &orders).await;
    assert_eq!((api.ended(), worker.ended()), (None, None));
    system.end().await;
}

/// Waits until more orders are placed than now.
async fn wait_until_more_are_placed(database: &Database) {
    let before = database.orders().await;
    wait_until("orders are placed", async || database.orders().await > before + 20).await;
}

/// Compares each row with what its client sent; no client's order is there twice, or under another id.
async fn assert_all_are_as_sent(database: &Database, orders: &Orders) {
    let asked_for: BTreeMap<SentOrder, Option<Uuid>> = orders.asked_for.iter().copied().collect();
    assert_eq!(asked_for.len(), orders.asked_for.len(), "no two were the same");
    let rows: Vec<(Uuid, u32, String, String)> = sqlx::query_as(
        "select order_id, cast(user_id as unsigned), cast(item_ids as char), cast(total_amount as char) from orders",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();

    let mut stored = BTreeSet::new();
    for (order_id, user_id, item_ids, total_amount) in rows {
        let items: Vec<u32> = serde_json::from_str(&item_ids).unwrap();
        let sent = SentOrder { user_id, number: items[0] };
        let answer = asked_for.get(&sent).unwrap_or_else(|| panic!("nobody asked for {order_id}: {sent:?}"));
        assert!(answer.is_none_or(|accepted| accepted == order_id), "{sent:?} is {order_id}, not {answer:?}");
        assert_eq!(items, sent.item_ids(), "{order_id}");
        assert_eq!(total_amount, format!("{:.4}", sent.total_amount()), "{order_id}");
        assert!(stored.insert(sent), "{sent:?} is there twice");
    }
    let lost: Vec<_> = asked_for.iter().filter(|(sent, answer)| answer.is_some() && !stored.contains(sent)).collect();
    assert!(lost.is_empty(), "accepted and not there: {lost:?}");
}
