//! The backup of a MariaDB, by the commands that docs/RUNBOOK.md prints. (`compose::` tries those for MySQL.)
//!
//! Needs MariaDB's server and its dump program; where they are missing, the test runner passes `--skip mariadb_backup::`.

use std::fs;
use std::process::Command;

use orders_tests::{Api, Folder, OwnServer, Worker, assert_counts_are_exact, run};
use reqwest::Url;
use uuid::Uuid;

use super::printed::{beside, printed, typed};
use crate::sample;

/// Orders whose work does not end by itself, and orders that wait behind them.
const IN_WORK: usize = 10;
const WAITING: usize = 100;

const HANG: &str = "hang=user:13";

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_made_under_load_restores_all_that_it_holds_and_what_was_in_work_is_completed() {
    let server = OwnServer::start(&[]).await;
    let operator = Operator::of(&server);
    let api = Api::start(&server.url, &[]).await;
    let worker = Worker::start(&server.url, &[("SIMULATED_FAULTS", HANG), ("SIMULATED_PROCESSING_MS", "20")]).await;
    let in_work = place(&api, 13, IN_WORK).await;
    for order_id in &in_work {
        sample::wait_until_stored_as(&server, *order_id, "PROCESSING").await;
    }
    let waiting = place(&api, 1, WAITING).await;

    let dump = operator.types(printed("Making a backup", "mariadb"));
    beside(dump, async || {
        api.place(&sample::order()).await;
    })
    .await;
    let lost = api.place(&sample::order()).await;
    worker.kill();
    assert_eq!(api.terminate().await.code(), Some(0));
    operator.types(printed("Restoring a backup", "mariadb")).await;

    let diagnosis = run("orders-api", &["doctor"], &[("DATABASE_URL", &server.url)]).await;
    let said = String::from_utf8_lossy(&diagnosis.stdout);
    assert!(diagnosis.status.success() && said.contains("ok    counts"), "{said}");
    let held = server.orders().await;
    for order_id in &in_work {
        assert_eq!(server.state(*order_id).await.0, "PROCESSING");
    }
    let (api, _worker) = (Api::start(&server.url, &[]).await, Worker::start(&server.url, &[]).await);
    sample::wait_until_none_is_open(&server).await;
    for order_id in in_work.iter().chain(&waiting) {
        assert_eq!(server.state(*order_id).await.0, "COMPLETED");
    }
    assert_eq!((server.orders().await, server.orders_in("COMPLETED").await), (held, held));
    assert_eq!(api.get(&format!("/orders/{lost}")).await.status, 404, "placed after the dump");
    assert_counts_are_exact(&server.pool).await;
    let rescued: i64 = sqlx::query_scalar("select count(*) from orders where rescues = 1 and user_id = 13")
        .fetch_one(&server.pool)
        .await
        .unwrap();
    assert_eq!(usize::try_from(rescued), Ok(IN_WORK));
}

async fn place(api: &Api, user_id: i64, orders: usize) -> Vec<Uuid> {
    let mut placed = Vec::new();
    for _ in 0..orders {
        placed.push(api.place(&sample::order_of(user_id)).await);
    }
    placed
}

/// Somebody whose clients know the server.
struct Operator(Folder);

impl Operator {
    fn of(server: &OwnServer) -> Self {
        let folder = Folder::new("typed");
        let (address, url) = (server.address(), Url::parse(server.root_url()).unwrap());
        let client = format!(
            "[client]\nhost={}\nport={}\nuser={}\npassword={}\n",
            address.ip(),
            address.port(),
            url.username(),
            url.password().unwrap()
        );
        fs::write(folder.path().join(".my.cnf"), client).unwrap();
        Self(folder)
    }

    async fn types(&self, commands: &str) -> String {
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", commands]).current_dir(self.0.path()).env("HOME", self.0.path());
        typed(shell).await
    }
}
