//! The programs and the schema they meet.

use orders_tests::{Api, History, Worker, assert_counts_are_exact, check, database, empty_database, eventually, run};
use sqlx::migrate::Migrator;
use uuid::Uuid;

use crate::clients::{Addresses, Clients};
use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn two_migrations_at_once_do_no_harm() {
    let database = empty_database().await;
    let migrate = async || run("orders-api", &["migrate"], &[("DATABASE_URL", &database.url)]).await;

    let (one, other) = tokio::join!(migrate(), migrate());

    for output in [one, other] {
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(database.orders().await, 0);
    Api::start(&database.url, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_again_changes_nothing() {
    let database = database().await;

    let again = run("orders-api", &["migrate"], &[("DATABASE_URL", &database.url)]).await;

    assert!(again.status.success(), "{again:?}");
    assert_eq!(database.orders().await, 0);
}

/// Claimed orders are found by another way since then, and columns that were null have values.
#[tokio::test(flavor = "multi_thread")]
async fn orders_of_every_status_come_through_the_migrations_of_completion_in_place() {
    const FIRST_OF_THEM: i64 = 20_261_126_220_000;
    let database = empty_database().await;
    let all = sqlx::migrate!("../migrations");
    let before = all.iter().filter(|migration| migration.version < FIRST_OF_THEM).cloned().collect();
    // The driver's own lock does not work on MariaDB.
    Migrator::with_migrations(before).set_locking(false).run(&database.pool).await.unwrap();
    let by_hand = "
        insert into orders
            (order_id, user_id, item_ids, total_amount, status, attempt, available_at, claim_token, worker_id, claimed_at,
             completed_at, created_at, updated_at)
        select unhex(lpad(n, 32, '0')), n, '[1]', 1, status, attempt, available_at, token, token, claimed_at, completed_at,
            '2026-01-01 00:00:01', '2026-01-01 00:00:03'
        from (
            select 1 as n, 'PENDING' as status, 0 as attempt, now(6) as available_at, null as token, null as claimed_at,
                null as completed_at
            union all select 2, 'PENDING', 1, '9999-12-31', null, now(6), null
            union all select 3, 'PROCESSING', 1, null, repeat('a', 16), now(6), null
            union all select 4, 'PROCESSING', 1, null, repeat('a', 16), now(6), null
            union all select 5, 'PROCESSING', 2, null, repeat('b', 16), now(6), null
            union all select 6, 'COMPLETED', 1, null, null, '2026-01-01 00:00:02', '2026-01-01 00:00:03'
            union all select 7, 'FAILED', 8, null, null, now(6), null
            union all select 8, 'CANCELED', 0, null, null, null, null
        ) as each_status";
    sqlx::raw_sql(by_hand).execute(&database.pool).await.unwrap();

    database.migrate().await;

    let api = Api::start(&database.url, &[]).await;
    for (status, users) in [
        ("pending", vec![2, 1]),
        ("processing", vec![5, 4, 3]),
        ("completed", vec![6]),
        ("failed", vec![7]),
        ("canceled", vec![8]),
    ] {
        let list = api.get(&format!("/order/status/{status}")).await.json();
        let listed: Vec<_> = list.as_array().unwrap().iter().map(|order| order["user_id"].as_i64().unwrap()).collect();
        assert_eq!(listed, users, "{list}");
    }
    let completed = api.get(&format!("/orders/{}", Uuid::from_u128(6))).await.json();
    assert_eq!(completed["completed_at"], "2026-01-01T00:00:03Z");
    let _worker = Worker::start(&database.url, &[("WORKER_DEAD_AFTER_SECS", "1")]).await;
    eventually("those that were due or in work are completed", sample::SOON, || async {
        (database.orders_in("COMPLETED").await == 5).then_some(())
    })
    .await;
    let rescues: Vec<u8> =
        sqlx::query_scalar("select rescues from orders order by user_id").fetch_all(&database.pool).await.unwrap();
    assert_eq!(rescues, [0, 0, 1, 1, 1, 0, 0, 0]);
    assert_counts_are_exact(&database.pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_meets_an_older_schema_names_the_remedy_and_is_ready_after_it() {
    let database = empty_database().await;
    let api = Api::start_unready(&database.url, &[]).await;
    let worker = Worker::start_unready(&database.url, &[]).await;

    for program in [&*api, &*worker] {
        let reply = program.readiness_is(503).await;
        assert!(reply.text.contains("orders-api migrate"), "{reply:?}");
    }
    let migrated = run("orders-api", &["migrate"], &[("DATABASE_URL", &database.url)]).await;

    assert!(migrated.status.success(), "{migrated:?}");
    api.is_ready().await;
    worker.is_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_meets_a_newer_schema_is_not_ready() {
    let database = database().await;
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (99999999999999, 'from the future', true, '', 0)",
    )
    .execute(&database.pool)
    .await
    .unwrap();

    let api = Api::start_unready(&database.url, &[]).await;
    let worker = Worker::start_unready(&database.url, &[]).await;

    for program in [&*api, &*worker] {
        let reply = program.readiness_is(503).await;
        assert!(reply.text.contains("99999999999999"), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn running_programs_go_on_while_the_next_release_adds_to_their_schema() {
    let database = database().await;
    History::record(&database.pool).await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, &[("SIMULATED_PROCESSING_MS", "20")]).await;
    let addresses = Addresses::default();
    addresses.set(0, api.url(""));
    let clients = Clients::start(&addresses);
    sample::some_more_are_completed(&database).await;

    for sql in [
        "alter table orders add column of_next_release tinyint not null default 0 after status",
        "create index orders_of_next_release on orders (user_id)",
        "alter table workers add column of_next_release varchar(20)",
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (99999999999999, 'from the next release', true, '', 0)",
    ] {
        sqlx::raw_sql(sql).execute(&database.pool).await.unwrap();
        sample::some_more_are_completed(&database).await;
    }

    for program in [&*api, &*worker] {
        let reply = program.readiness_is(503).await;
        assert!(reply.text.contains("99999999999999"), "{reply:?}");
    }
    let orders = clients.stop().await;
    sample::none_is_open(&database).await;
    let history = History::read(&database.pool).await;
    let summary = check(&history, &orders.accepted, orders.unanswered).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert_eq!((summary.failed, orders.unanswered), (0, 0), "{summary:?}");
}
