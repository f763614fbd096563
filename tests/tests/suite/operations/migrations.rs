//! The programs and the schema they meet.

use orders_tests::{Api, History, System, Worker, database, empty_database, run};

use crate::clients::{Addresses, Clients};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_was_never_released_is_refused_with_a_line_that_says_what_to_delete() {
    let database = empty_database().await;
    database
        .execute(
            "create table _sqlx_migrations (
             version bigint primary key, description text not null, installed_on timestamp not null default now(),
             success boolean not null, checksum blob not null, execution_time bigint not null
         );
         insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (20261123100000, 'create orders', true, '', 0)",
        )
        .await;
    let api = Api::start_unready(&database.url, &[]).await;

    let migrated = run("orders-api", &["migrate"], &[("DATABASE_URL", &database.url)]).await;

    let said = String::from_utf8_lossy(&migrated.stderr).into_owned();
    assert!(!migrated.status.success());
    for remedy in ["drop database", "docker compose down --volumes", ".data", "orders-api migrate"] {
        assert!(said.contains(remedy), "{said}");
        assert!(api.wait_for_readiness(503).await.text.contains(remedy));
    }
    let tables = "select count(*) from information_schema.tables where table_schema = database()";
    assert_eq!(sqlx::query_scalar::<_, i64>(tables).fetch_one(&database.pool).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_meets_an_older_schema_names_the_remedy_and_is_ready_after_it() {
    let database = empty_database().await;
    let api = Api::start_unready(&database.url, &[]).await;
    let worker = Worker::start_unready(&database.url, &[]).await;

    for program in [&*api, &*worker] {
        let reply = program.wait_for_readiness(503).await;
        assert!(reply.text.contains("orders-api migrate"), "{reply:?}");
    }
    let migrated = run("orders-api", &["migrate"], &[("DATABASE_URL", &database.url)]).await;

    assert!(migrated.status.success(), "{migrated:?}");
    api.wait_until_ready().await;
    worker.wait_until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_meets_a_newer_schema_is_not_ready() {
    let database = database().await;
    database
        .execute(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (99999999999999, 'from the future', true, '', 0)",
        )
        .await;

    let api = Api::start_unready(&database.url, &[]).await;
    let worker = Worker::start_unready(&database.url, &[]).await;

    for program in [&*api, &*worker] {
        let reply = program.wait_for_readiness(503).await;
        assert!(reply.text.contains("99999999999999"), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn running_programs_go_on_while_the_next_release_adds_to_their_schema() {
    let system = System::start().await;
    History::record(&system.database.pool).await;
    let worker = system.start_worker(&[("SIMULATED_PROCESSING_MS", "20")]).await;
    let addresses = Addresses::default();
    addresses.set(0, system.url(""));
    let clients = Clients::start(&addresses);
    system.database.wait_until_more_are_completed().await;

    for sql in [
        "alter table orders add column of_next_release tinyint not null default 0 after status",
        "create index orders_of_next_release on orders (user_id)",
        "alter table workers add column of_next_release varchar(20)",
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (99999999999999, 'from the next release', true, '', 0)",
    ] {
        system.database.execute(sql).await;
        system.database.wait_until_more_are_completed().await;
    }

    for program in [&*system.api, &*worker] {
        let reply = program.wait_for_readiness(503).await;
        assert!(reply.text.contains("99999999999999"), "{reply:?}");
    }
    let orders = clients.stop().await;
    system.database.wait_until_none_is_open().await;
    let summary = History::assert_is_sound(&system.database.pool, &orders.accepted, orders.unanswered).await;
    assert_eq!((summary.failed, orders.unanswered), (0, 0), "{summary:?}");
    system.end().await;
}
