//! This release and the one before on one database, as during an upgrade.

use std::collections::BTreeSet;

use orders_tests::Release::{Previous, This};
use orders_tests::{
    Api, Database, History, Release, Status, Summary, Worker, assert_counts_are_exact, database, empty_database,
    run_release, wait_until,
};
use serde_json::json;
use uuid::Uuid;

use crate::clients::{Addresses, Clients};
use crate::sample;

const DEAD_AFTER: (&str, &str) = ("WORKER_DEAD_AFTER_SECS", "1");

/// Two workers with these settings are slower than the clients, so that there is work for both.
const SLOW: [(&str, &str); 2] = [("SIMULATED_PROCESSING_MS", "50"), ("WORKER_CONCURRENCY", "2")];

/// Takes eight orders and finishes none of them.
const NEVER_DONE: [(&str, &str); 4] =
    [DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "600000"), ("WORKER_CONCURRENCY", "8"), ("SHUTDOWN_GRACE_SECS", "1")];

#[tokio::test(flavor = "multi_thread")]
async fn two_releases_share_the_orders_and_complete_each_once() {
    let database = database().await;
    History::record(&database.pool).await;
    let url = &database.url;
    let apis = [Api::start_release(Previous, url, &[]).await, Api::start_release(This, url, &[]).await];
    let workers = [Worker::start_release(Previous, url, &SLOW).await, Worker::start_release(This, url, &SLOW).await];
    let addresses = Addresses::default();
    addresses.set(0, apis[0].url(""));
    addresses.set(1, apis[1].url(""));

    let clients = Clients::start(&addresses);
    for api in &apis {
        wait_for_counter(api, "orders_placed_total", 20).await;
    }
    for worker in &workers {
        wait_for_counter(worker, "orders_completed_total", 20).await;
    }
    let orders = clients.stop().await;
    database.wait_until_none_is_open().await;

    let summary = assert_is_sound(&database, &orders.accepted, orders.unanswered).await;
    assert_eq!((summary.failed, orders.unanswered), (0, 0), "{summary:?}");
    assert_eq!(completed_by(&database).await.len(), 2);
    assert_counts_are_exact(&database.pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_orders_of_a_killed_worker_are_rescued_by_one_of_the_release_before() {
    assert_is_rescued(This, Previous).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_orders_of_a_killed_worker_are_rescued_by_one_of_the_next_release() {
    assert_is_rescued(Previous, This).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_releases_at_its_end_is_completed_by_one_of_the_release_before() {
    assert_is_released(This, Previous).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_releases_at_its_end_is_completed_by_one_of_the_next_release() {
    assert_is_released(Previous, This).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_to_an_order_by_one_release_is_told_and_undone_by_the_other() {
    for (one, other) in [(Previous, This), (This, Previous)] {
        let database = database().await;
        History::record(&database.pool).await;
        let apis =
            [Api::start_release(one, &database.url, &[]).await, Api::start_release(other, &database.url, &[]).await];
        let worker = Worker::start_release(one, &database.url, &[("SIMULATED_FAULTS", "reject=1")]).await;
        let order_id = apis[0].place(&sample::order()).await;
        apis[1].wait_for_status(order_id, "FAILED").await;
        assert_eq!(worker.terminate().await.code(), Some(0));

        let retried = apis[1].post(&format!("/orders/{order_id}/retry"), "").await;
        let canceled = apis[0].post(&format!("/orders/{order_id}/cancel"), "").await;

        assert_eq!((retried.status, &retried.json()["status"]), (200, &json!("PENDING")), "{retried:?}");
        assert_eq!((canceled.status, &canceled.json()["status"]), (200, &json!("CANCELED")), "{canceled:?}");
        for api in &apis {
            assert_eq!(api.story(order_id).await, ["placed", "claimed", "failed", "retried", "canceled"]);
        }
        assert_is_sound(&database, &[order_id], 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_of_one_program_after_the_other_needs_no_rescue_and_loses_no_order() {
    let database = empty_database().await;
    let url = &database.url;
    migrate(Previous, url).await;
    History::record(&database.pool).await;
    let old_api = Api::start_release(Previous, url, &[]).await;
    let old_workers =
        [Worker::start_release(Previous, url, &SLOW).await, Worker::start_release(Previous, url, &SLOW).await];
    let addresses = Addresses::default();
    addresses.set(0, old_api.url(""));
    let clients = Clients::start(&addresses);
    for worker in &old_workers {
        wait_for_counter(worker, "orders_completed_total", 1).await;
    }

    let api = Api::start_release(This, url, &[]).await;
    migrate(This, url).await;
    database.wait_until_more_are_completed().await;
    api.wait_until_ready().await;
    addresses.set(0, api.url(""));
    assert_eq!(old_api.terminate().await.code(), Some(0));
    let mut workers = Vec::new();
    for old in old_workers {
        let worker = Worker::start(url, &SLOW).await;
        wait_for_counter(&worker, "orders_completed_total", 1).await;
        workers.push(worker);
        assert_eq!(old.terminate().await.code(), Some(0));
    }
    wait_for_counter(&api, "orders_placed_total", 20).await;
    let orders = clients.stop().await;
    database.wait_until_none_is_open().await;

    let summary = assert_is_sound(&database, &orders.accepted, orders.unanswered).await;
    assert_eq!((summary.failed, summary.rescued), (0, 0), "{summary:?}");
    assert_eq!(completed_by(&database).await.len(), 4);
}

/// A worker of the release `dying` is killed in the middle of eight orders, and one of the release `heir` completes
/// them.
async fn assert_is_rescued(dying: Release, heir: Release) {
    let (database, placed, dying) = worker_in_the_middle_of_eight_orders(dying).await;
    let heir = Worker::start_release(heir, &database.url, &[DEAD_AFTER]).await;

    dying.kill();
    database.wait_until_none_is_open().await;

    let summary = assert_is_sound(&database, &placed, 0).await;
    assert_eq!((summary.completed, summary.rescued), (8, 8), "{summary:?}");
    wait_for_counter(&heir, "orders_rescued_total", 8).await;
}

/// A worker of the release `leaving` is asked to end in the middle of eight orders, and one of the release `heir`
/// completes them.
async fn assert_is_released(leaving: Release, heir: Release) {
    let (database, placed, leaving) = worker_in_the_middle_of_eight_orders(leaving).await;
    let _heir = Worker::start_release(heir, &database.url, &[DEAD_AFTER]).await;

    let status = leaving.terminate().await;
    database.wait_until_none_is_open().await;

    assert_eq!(status.code(), Some(0));
    let summary = assert_is_sound(&database, &placed, 0).await;
    assert_eq!((summary.completed, summary.released, summary.rescued), (8, 8, 0), "{summary:?}");
}

/// Eight orders that a worker of this release has claimed.
async fn worker_in_the_middle_of_eight_orders(release: Release) -> (Database, Vec<Uuid>, Worker) {
    let database = database().await;
    History::record(&database.pool).await;
    let api = Api::start_release(release, &database.url, &[]).await;
    let worker = Worker::start_release(release, &database.url, &NEVER_DONE).await;
    let mut placed = Vec::new();
    for _ in 0..8 {
        placed.push(api.place(&sample::order()).await);
    }
    database.wait_for_orders_in("PROCESSING", 8).await;
    (database, placed, worker)
}

/// Waits until a counter of a program is at least `least`.
async fn wait_for_counter(program: &orders_tests::Program, counter: &str, least: u32) {
    wait_until(&format!("{counter} is {least}"), async || program.counter(counter).await >= f64::from(least)).await;
}

async fn migrate(release: Release, url: &str) {
    let migrated = run_release(release, "orders-api", &["migrate"], &[("DATABASE_URL", url)]).await;
    assert!(migrated.status.success(), "{migrated:?}");
}

/// Returns what happened, if no rule is broken.
async fn assert_is_sound(database: &Database, accepted: &[Uuid], unanswered: usize) -> Summary {
    History::assert_is_sound(&database.pool, accepted, unanswered).await
}

/// The workers that completed an order.
async fn completed_by(database: &Database) -> BTreeSet<Uuid> {
    let history = History::read(&database.pool).await;
    let completed = history.iter().filter(|change| change.new_status == Status::Completed);
    completed.filter_map(|change| change.worker_id).collect()
}
