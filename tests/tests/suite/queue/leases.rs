//! Chores that one worker does for all, under a lease.

use std::time::Duration;

use orders_shared::domain::{ProcessorKind, Registration, WorkerId};
use orders_shared::store::{Store, StoreSettings};
use orders_tests::{Database, Worker, database, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_chore_is_done_by_one_worker_until_that_ends() {
    let database = database().await;
    let store = store(&database);
    let [first, second] = [register(&store).await, register(&store).await];

    assert_eq!(prune(&store, first).await, Some(0));
    assert_eq!(prune(&store, second).await, None, "the first one holds the lease");
    assert_eq!(prune(&store, first).await, Some(0), "and keeps it");

    store.unregister(first).await.unwrap();
    assert_eq!(prune(&store, second).await, Some(0), "the lease of one that ended is free at once");
    assert_eq!(prune(&store, first).await, None, "one that does not know that it is dead has lost it");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_workers_that_want_a_free_lease_at_once_one_gets_it() {
    let database = database().await;
    let store = store(&database);
    for _ in 0..20 {
        database.execute("delete from leases; delete from workers").await;
        let [first, second] = [register(&store).await, register(&store).await];

        let (by_first, by_second) = tokio::join!(prune(&store, first), prune(&store, second));

        assert_eq!([by_first, by_second].iter().flatten().count(), 1, "{by_first:?}, {by_second:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_the_last_holder_and_one_of_the_next_are_never_under_way_together() {
    let database = database().await;
    let store = store(&database);
    let [first, second] = [register(&store).await, register(&store).await];
    assert_eq!(prune(&store, first).await, Some(0));
    let mut batch = database.pool.begin().await.unwrap();
    sqlx::raw_sql("update leases set taken_at = taken_at").execute(&mut *batch).await.unwrap();
    store.unregister(first).await.unwrap();

    let waiting = tokio::spawn({
        let store = store.clone();
        async move { prune(&store, second).await }
    });
    // MySQL cannot show what its transactions execute if that has bytes which are no text.
    let waits = if database.is_mariadb().await {
        "select count(*)
         from information_schema.innodb_trx
         join information_schema.processlist on processlist.id = innodb_trx.trx_mysql_thread_id
         where processlist.db = database() and innodb_trx.trx_state = 'LOCK WAIT'"
    } else {
        "select count(*) from performance_schema.data_locks where object_schema = database() and lock_status = 'WAITING'"
    };
    let is_waiting = async || database.scalar::<i64>(waits).await > 0;
    wait_until("the next holder waits for the batch of the last one", is_waiting).await;
    batch.commit().await.unwrap();

    assert_eq!(waiting.await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_takes_the_lease_of_a_dead_one_when_it_starts() {
    let database = database().await;
    let insert = "insert into leases (chore, worker_id) values ('prune_idempotency_keys', repeat('x', 16))";
    database.execute(insert).await;

    let _worker = Worker::start(&database.url, &[]).await;

    let held = "select count(*) from leases join workers on workers.worker_id = leases.worker_id";
    wait_until("the lease is the worker's", async || database.scalar::<i64>(held).await == 1).await;
}

fn store(database: &Database) -> Store {
    Store::new(StoreSettings::new(&database.url, 4).unwrap())
}

async fn register(store: &Store) -> WorkerId {
    let worker_id = WorkerId::fresh();
    let registration = Registration {
        worker_id,
        host: "here".to_owned(),
        pid: 1,
        version: "0.1.0".to_owned(),
        processor: ProcessorKind::Rust,
        slots: 1,
        wakeup_address: None,
        dead_after: Duration::from_mins(1),
    };
    store.register(&registration).await.unwrap();
    worker_id
}

async fn prune(store: &Store, worker_id: WorkerId) -> Option<u64> {
    store.prune_idempotency_keys(worker_id).await.unwrap()
}
