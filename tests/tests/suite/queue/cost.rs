//! What an order costs the server under a load that is always the same, in figures that do not depend on the machine.

use std::cell::Cell;
use std::ops::Sub;
use std::time::Instant;

use orders_tests::{OwnServer, SOON, System, Worker, eventually, wait_until};
use serde_json::{Value, json};

use crate::sample;

const ORDERS: usize = 3_000;
const BATCH: usize = 100;

/// What the server has done so far.
#[derive(Clone, Copy, Debug)]
struct Work {
    statements: f64,
    /// Only of transactions that wrote something.
    commits: f64,
    /// Rows and index entries read.
    reads: f64,
    /// Rows written, without index entries.
    writes: f64,
}

impl Work {
    async fn of(server: &OwnServer) -> Self {
        let status = r"
            show global status where variable_name = 'Questions'
                or variable_name like 'Handler\_%' or variable_name like 'Innodb\_rows\_%'
        ";
        let rows: Vec<(String, String)> = sqlx::query_as(status).fetch_all(&server.pool).await.unwrap();
        // MySQL's handlers count what they write to temporary tables too; MariaDB's do not, and its engine does not
        // count.
        let is_mysql = rows.iter().any(|(name, _)| name == "Innodb_rows_inserted");
        let writes = if is_mysql {
            ["Innodb_rows_inserted", "Innodb_rows_updated", "Innodb_rows_deleted"]
        } else {
            ["Handler_write", "Handler_update", "Handler_delete"]
        };
        let sum = |prefix: &str| -> f64 {
            let of_it = rows.iter().filter(|(name, _)| name.starts_with(prefix));
            of_it.map(|(_, count)| count.parse::<f64>().unwrap()).sum()
        };
        let commits =
            "select cast(count as signed) from information_schema.innodb_metrics where name = 'trx_rw_commits'";
        let commits: i64 = server.scalar(commits).await;
        Self {
            statements: sum("Questions"),
            commits: i32::try_from(commits).unwrap().into(),
            reads: sum("Handler_read_"),
            writes: writes.into_iter().map(sum).sum(),
        }
    }

    /// Per order of the load.
    fn an_order(self) -> Self {
        let share = |count: f64| count / f64::from(u32::try_from(ORDERS).unwrap());
        Self {
            statements: share(self.statements),
            commits: share(self.commits),
            reads: share(self.reads),
            writes: share(self.writes),
        }
    }

    fn is_at_most(self, most: Self) -> bool {
        self.statements <= most.statements
            && self.commits <= most.commits
            && self.reads <= most.reads
            && self.writes <= most.writes
    }
}

impl Sub for Work {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            statements: self.statements - before.statements,
            commits: self.commits - before.commits,
            reads: self.reads - before.reads,
            writes: self.writes - before.writes,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_costs_the_server_no_more_than_it_did() {
    let system = System::on(OwnServer::start(&[]).await, &[]).await;
    system.database.execute("set global innodb_monitor_enable = 'trx_rw_commits'").await;
    system.database.execute("grant process on *.* to 'orders'@'%'").await;
    let env = [("SIMULATED_PROCESSING_MS", "0"), ("WORKER_CONCURRENCY", "500")];
    assert_eq!(system.post("/queue/pause", "").await.status, 200);
    let orders: Vec<Value> = vec![sample::order(); BATCH];
    let batch = json!({ "orders": orders }).to_string();

    let start = Work::of(&system.database).await;
    for _ in 0..ORDERS / BATCH {
        assert_eq!(system.post("/orders/batch", &batch).await.status, 201);
    }
    let placed = Work::of(&system.database).await;
    let worker = system.start_worker(&env).await;
    let waiting = Work::of(&system.database).await;
    assert_eq!(system.post("/queue/resume", "").await.status, 200);
    // The worker is asked, since answers of the database would count.
    wait_until("all are completed", async || worker.counter("orders_completed_total").await >= 3_000.0).await;
    let completed = Work::of(&system.database).await;

    let (to_place, to_complete) = ((placed - start).an_order(), (completed - waiting).an_order());
    assert!(
        to_place.is_at_most(Work { statements: 0.07, commits: 0.02, reads: 0.5, writes: 1.1 }),
        "to place an order: {to_place:?}"
    );
    assert!(
        to_complete.is_at_most(Work { statements: 0.15, commits: 0.05, reads: 4.5, writes: 2.1 }),
        "to claim and complete an order: {to_complete:?}"
    );
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_is_one_message_to_the_database() {
    const CREATES: u32 = 200;
    let system = System::start_behind_proxy(&[]).await;
    system.place(&sample::order()).await;

    let before = system.proxy.messages();
    for _ in 0..CREATES {
        system.place(&sample::order()).await;
    }
    let sent = system.proxy.messages() - before;

    // Background tasks also send a message now and then.
    assert!(sent < CREATES * 3 / 2, "{sent} messages for {CREATES} creates");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_asks_the_database_25_times_a_second_at_most() {
    const ASKED: f64 = 100.0;
    let server = OwnServer::start(&[]).await;
    server.execute("grant process on *.* to 'orders'@'%'").await;
    let _worker = Worker::start(&server.url, &[]).await;
    wait_until("the worker's start is over", async || {
        let steady = "select count(*) from workers where heartbeat_at > started_at";
        let steady: i64 = server.scalar(steady).await;
        steady > 0
    })
    .await;

    let (start, before) = (Instant::now(), Work::of(&server).await.statements);
    let probes = Cell::new(0.0);
    eventually("the worker has asked often", SOON, || {
        // Each probe is two statements itself.
        probes.set(probes.get() + 2.0);
        let (server, own) = (&server, probes.get());
        async move { (Work::of(server).await.statements - before - own >= ASKED).then_some(()) }
    })
    .await;

    let rate = ASKED / start.elapsed().as_secs_f64();
    assert!(rate <= 25.0, "{rate} statements a second");
}
