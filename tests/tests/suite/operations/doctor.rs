//! `orders-api doctor`: what it lets pass, and what it does not.

use std::time::{Duration, Instant};

use orders_tests::{Database, OwnServer, Proxy, System, Worker, database, empty_database, eventually, run, wait_until};

use crate::rows::numbers;
use crate::sample;

/// What is found where all is well, in the order of the output.
const CHECKS: [&str; 17] = [
    "reachable",
    "server",
    "tls",
    "isolation",
    "session",
    "binlog",
    "durability",
    "packet",
    "connect errors",
    "clock",
    "schema",
    "privileges",
    "skip locked",
    "scripts",
    "plan",
    "claims",
    "counts",
];

/// A person waits for the doctor's answer.
const WITHIN: Duration = Duration::from_secs(15);

/// 20,000 COMPLETED, 2,000 PENDING, 200 FAILED and 100 PROCESSING orders.
const HISTORY: &str = concat!(
    "
    insert into orders
        (order_id, user_id, item_ids, total_amount, status, available_at, claim_token, created_at, updated_at)
    with ",
    numbers!(),
    ",
        orders_to_be as (
            select n, case
                when n < 20000 then 'COMPLETED'
                when n < 22000 then 'PENDING'
                when n < 22200 then 'FAILED'
                else 'PROCESSING'
            end as status
            from numbers
            where n < 22300
        )
    select
        unhex(lpad(hex(n), 32, '0')),
        1,
        '[1, 2]',
        100,
        status,
        if(status = 'PENDING', now(6) - interval (22000 - n) second, '9999-12-31'),
        repeat('t', 16),
        now(6) - interval (22300 - n) second,
        now(6)
    from orders_to_be
    "
);

/// 1,000 claims of a worker that lives, and 100 of one that does not.
const CLAIMS: &str = "
    insert into workers (worker_id, host, pid, version, slots, expires_at)
    values (repeat('a', 16), '', 0, '', 0, now(6) + interval 1 hour);
    insert into claims (claim_token, worker_id, order_ids)
    select unhex(lpad(hex(n), 32, '0')), if(n % 11 = 0, repeat('b', 16), repeat('a', 16)), '[]'
    from (select row_number() over (order by order_id) as n from orders limit 1100) as numbers
";

/// The statistics that a server has of a table that was loaded in a moment and not analyzed since.
const TAKE_FOR_EMPTY: &str = "
    alter table orders stats_auto_recalc = 0;
    update mysql.innodb_table_stats
    set n_rows = 0, clustered_index_size = 1, sum_of_other_index_sizes = 3
    where database_name = database() and table_name = 'orders';
    update mysql.innodb_index_stats
    set stat_value = if(stat_name like 'n_diff%', 0, 1)
    where database_name = database() and table_name = 'orders';
    flush table orders
";

/// What the doctor said.
struct Diagnosis {
    text: String,
    code: Option<i32>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_database_passes_every_check_and_is_left_as_it_was() {
    let database = database().await;

    let diagnosis = diagnose(&database.url).await;

    diagnosis.assert_is_sound();
    assert_eq!(diagnosis.checks(), CHECKS, "{}", diagnosis.text);
    let plans = "ok    plan: all 27 hot statements are served by their indexes";
    assert!(diagnosis.text.lines().any(|line| line == plans), "{}", diagnosis.text);
    assert_eq!((database.orders().await, workers(&database).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plans_hold_on_tables_with_a_history() {
    let database = database().await;
    database.execute(HISTORY).await;
    database.execute(CLAIMS).await;
    database.migrate().await;

    for analyzed in [false, true] {
        if analyzed {
            database.execute("analyze table orders, claims").await;
        }
        let diagnosis = diagnose(&database.url).await;

        diagnosis.assert_is_sound();
        assert_eq!(diagnosis.checks(), CHECKS, "{}", diagnosis.text);
        assert!(diagnosis.line("counts").starts_with("ok"), "{}", diagnosis.text);
    }
    let still = [("COMPLETED", 20_000), ("PENDING", 2_000), ("FAILED", 200), ("PROCESSING", 100)];
    for (status, orders) in still {
        assert_eq!(database.orders_in(status).await, orders, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_all_the_time_reads_little_of_a_table_that_the_server_takes_for_empty() {
    let system = System::on(OwnServer::start(&[]).await, &[]).await;
    system.database.execute(HISTORY).await;
    system.database.execute("delete from orders where status in ('PENDING', 'PROCESSING')").await;
    system.database.migrate().await;
    system.database.execute(TAKE_FOR_EMPTY).await;
    let stored = u64::try_from(system.database.orders().await).unwrap();

    let diagnosis = diagnose(&system.database.url).await;
    system.start_worker(&[("WORKER_POLL_MS", "1")]).await;
    let read = sample::reads_of(&system.database, async {
        for _ in 0..20 {
            let order_id = system.place(&sample::order()).await;
            system.wait_for_status(order_id, "COMPLETED").await;
            assert_eq!(system.get("/queue").await.status, 200);
        }
    })
    .await;

    for plan in ["plan: lock due orders", "plan: find the oldest due", "plan: see whether any is due"] {
        assert!(!diagnosis.failed().iter().any(|failed| failed == plan), "{}", diagnosis.text);
    }
    assert!(read < stored, "{read} reads among {stored} orders");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plans_are_seen_while_the_queue_is_paused_and_it_stays_paused() {
    let database = database().await;
    database.execute("insert into queue_pauses (pause_id) values (1)").await;

    diagnose(&database.url).await.assert_is_sound();

    let pauses: i64 = database.scalar("select count(*) from queue_pauses").await;
    assert_eq!(pauses, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_tables_fails_and_the_remedy_is_named() {
    let database = empty_database().await;

    let diagnosis = diagnose(&database.url).await;

    diagnosis.assert_fails_at(&["schema"]);
    assert!(diagnosis.line("schema").contains("orders-api migrate"), "{}", diagnosis.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_index_fails_wherever_it_is_needed() {
    for (table, index, checks) in [
        (
            "orders",
            "orders_by_status",
            [
                "plan: lock due orders",
                "plan: count orders ahead",
                "plan: find the oldest due",
                "plan: see whether any is due",
                "plan: list a status",
                "plan: count a few",
            ]
            .as_slice(),
        ),
        ("orders", "orders_by_time", &["plan: list all", "plan: end a walk"]),
        ("orders", "orders_by_user", &["plan: list a user's", "plan: end a walk of a user's"]),
        ("idempotency_keys", "idempotency_keys_by_age", &["plan: prune idempotency keys"]),
    ] {
        let database = database().await;
        database.execute(&format!("drop index {index} on {table}")).await;

        diagnose(&database.url).await.assert_fails_at(checks);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_in_another_order_sorts_or_reads_too_much() {
    let database = database().await;
    database.execute(HISTORY).await;
    let other = "alter table orders drop index orders_by_status, add index orders_by_status (listed_as, user_id)";
    database.execute(other).await;

    let diagnosis = diagnose(&database.url).await;

    for plan in ["plan: lock due orders", "plan: list a status", "plan: find the oldest due"] {
        assert!(diagnosis.failed().iter().any(|failed| failed == plan), "{}", diagnosis.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_privileges_that_the_programs_need_are_missed() {
    let server = OwnServer::start(&[]).await;
    diagnose(&server.url).await.assert_is_sound();

    server.execute("set global sync_binlog = 0").await;
    let lax = diagnose(&server.url).await;
    server.execute("set global binlog_format = 'STATEMENT'").await;
    let statements = diagnose(&server.url).await;
    server.execute("set global binlog_format = 'ROW'").await;

    lax.assert_is_sound();
    assert!(lax.line("durability").starts_with("WARN  durability: sync_binlog=0: "), "{}", lax.text);
    assert!(statements.line("binlog").starts_with("FAIL"), "{}", statements.text);

    server.execute("revoke all on orders.* from 'orders'@'%'").await;
    server.execute("grant select on orders.* to 'orders'@'%'").await;
    for table in ["orders", "claims", "order_events", "workers", "queue_pauses"] {
        server.execute(&format!("grant insert, delete on orders.{table} to 'orders'@'%'")).await;
    }
    server.execute("grant update on orders.workers to 'orders'@'%'").await;
    server.execute("grant update on orders.queue_pauses to 'orders'@'%'").await;
    let restricted = diagnose(&server.url).await;
    server.execute("grant update on orders.orders to 'orders'@'%'").await;
    server.execute("grant insert, delete on orders.idempotency_keys to 'orders'@'%'").await;
    server.execute("grant insert, delete on orders.order_outages to 'orders'@'%'").await;
    server.execute("grant insert on orders.order_results to 'orders'@'%'").await;
    server.execute("grant insert on orders.external_ids to 'orders'@'%'").await;
    server.execute("grant insert, update on orders.leases to 'orders'@'%'").await;
    server.execute("grant insert, update on orders.order_counts to 'orders'@'%'").await;
    let sufficient = diagnose(&server.url).await;

    restricted.assert_fails_at(&["privileges"]);
    let missing = "has no update on orders, insert on leases, update on leases, insert on order_results, \
                   insert on order_outages, delete on order_outages, insert on idempotency_keys, \
                   delete on idempotency_keys, insert on order_counts, update on order_counts, insert on external_ids: ";
    assert!(restricted.line("privileges").contains(missing), "{}", restricted.text);
    sufficient.assert_is_sound();
    let line = sufficient.line("privileges");
    assert!(line.starts_with("WARN") && line.contains("create, alter, index, drop"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_or_silent_is_one_line_within_seconds() {
    let database = database().await;
    let proxy = Proxy::start(&database.url).await;

    for is_silent in [false, true] {
        if is_silent {
            proxy.stall();
        } else {
            proxy.cut();
        }
        let started = Instant::now();
        let diagnosis = diagnose(&proxy.url).await;

        diagnosis.assert_fails_at(&["reachable"]);
        assert_eq!(diagnosis.checks(), ["reachable"], "{}", diagnosis.text);
        assert!(diagnosis.text.contains("DATABASE_URL"), "{}", diagnosis.text);
        assert!(started.elapsed() < WITHIN, "{:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_locked_rows_are_waited_for_the_doctor_fails_and_a_worker_refuses_to_start() {
    let database = database().await;
    let proxy = Proxy::start_without_skip_locked(&database.url).await;

    let diagnosis = diagnose(&proxy.url).await;
    let worker = Worker::start_unready(&proxy.url, &[]).await;
    let ended = eventually("the worker ends", WITHIN, || async { worker.ended() }).await;

    diagnosis.assert_fails_at(&["skip locked"]);
    assert_eq!(ended.code(), Some(1));
    wait_until("it says why", async || worker.logs().contains("SKIP LOCKED")).await;
    assert_eq!(workers(&database).await, 0, "neither leaves a row behind");
}

async fn diagnose(url: &str) -> Diagnosis {
    let output = run("orders-api", &["doctor"], &[("DATABASE_URL", url)]).await;
    let text = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    Diagnosis { text, code: output.status.code() }
}

async fn workers(database: &Database) -> i64 {
    database.scalar("select count(*) from workers").await
}

impl Diagnosis {
    fn assert_is_sound(&self) {
        assert_eq!(self.code, Some(0), "{}", self.text);
        assert!(!self.text.lines().any(|line| line.starts_with("FAIL  ")), "{}", self.text);
    }

    /// Exactly these checks failed.
    fn assert_fails_at(&self, checks: &[&str]) {
        assert_eq!(self.code, Some(1), "{}", self.text);
        assert_eq!(self.failed(), checks, "{}", self.text);
    }

    /// The checks that failed, each plan with the name of its statement.
    fn failed(&self) -> Vec<String> {
        let failed = self.text.lines().filter_map(|line| line.strip_prefix("FAIL  "));
        let names = |finding: &str| if finding.starts_with("plan: ") { 2 } else { 1 };
        failed.map(|it| it.split(": ").take(names(it)).collect::<Vec<_>>().join(": ")).collect()
    }

    fn checks(&self) -> Vec<&str> {
        self.text
            .lines()
            .map(|line| line[6..].split_once(": ").unwrap_or_else(|| panic!("no finding: {line}")).0)
            .collect()
    }

    fn line(&self, check: &str) -> &str {
        let line = self.text.lines().find(|line| line.get(6..).is_some_and(|rest| rest.starts_with(check)));
        line.unwrap_or_else(|| panic!("no {check}: {}", self.text))
    }
}
