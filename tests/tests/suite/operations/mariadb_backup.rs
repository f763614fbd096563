//! The backup of a MariaDB, by the commands that docs/RUNBOOK.md prints. (`compose::` tries those for MySQL.)
//!
//! Needs MariaDB's server and its dump program; where they are missing, the test runner passes `--skip
//! mariadb_backup::`.

use std::fs;
use std::process::Command;

use orders_tests::{Api, Folder, OwnServer, System, run};
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
    let system = System::on(OwnServer::start(&[]).await, &[]).await;
    let operator = Operator::of(&system.database);
    let worker = system.start_worker(&[("SIMULATED_FAULTS", HANG), ("SIMULATED_PROCESSING_MS", "20")]).await;
    let in_work = place(&system, 13, IN_WORK).await;
    for order_id in &in_work {
        system.database.wait_for_status(*order_id, "PROCESSING").await;
    }
    let waiting = place(&system, 1, WAITING).await;

    let dump = operator.types(printed("Making a backup", "mariadb"));
    beside(dump, async || {
        system.place(&sample::order()).await;
    })
    .await;
    let lost = system.place(&sample::order()).await;
    worker.kill();
    assert_eq!(system.api.terminate().await.code(), Some(0));
    operator.types(printed("Restoring a backup", "mariadb")).await;

    let diagnosis = run("orders-api", &["doctor"], &[("DATABASE_URL", &system.database.url)]).await;
    let said = String::from_utf8_lossy(&diagnosis.stdout);
    assert!(diagnosis.status.success() && said.contains("ok    counts"), "{said}");
    let held = system.database.orders().await;
    for order_id in &in_work {
        assert_eq!(system.database.state(*order_id).await.0, "PROCESSING");
    }
    let api = system.start_api(&[]).await;
    system.start_worker(&[]).await;
    system.database.wait_until_none_is_open().await;
    for order_id in in_work.iter().chain(&waiting) {
        assert_eq!(system.database.state(*order_id).await.0, "COMPLETED");
    }
    assert_eq!((system.database.orders().await, system.database.orders_in("COMPLETED").await), (held, held));
    assert_eq!(api.get(&format!("/orders/{lost}")).await.status, 404, "placed after the dump");
    let rescued: i64 = system.database.scalar("select count(*) from orders where rescues = 1 and user_id = 13").await;
    assert_eq!(usize::try_from(rescued), Ok(IN_WORK));
    system.end().await;
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
