//! The system under faults: one server, and programs, some of which reach it through a proxy that misbehaves.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use orders_tests::{Api, OwnServer, Proxy, Worker};
use sqlx::{Connection, MySqlConnection, query_scalar, raw_sql};
use tokio::time::sleep;

use super::dice::Dice;
use super::faults::{APIS, Fault, WORKERS};
use crate::clients::Addresses;
use crate::crowd;

pub(super) const ATTEMPTS_MAX: &str = "4";

const DEAD_AFTER: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(5);

/// What a program may take beyond its grace period.
const ENDED_WITHIN: Duration = GRACE.saturating_add(Duration::from_secs(2));

/// So many slots that a worker which dies holds many orders.
const WORKER: [(&str, &str); 7] = [
    ("WORKER_DEAD_AFTER_SECS", "2"),
    ("WORKER_CONCURRENCY", "32"),
    ("WORKER_MAX_ATTEMPTS", ATTEMPTS_MAX),
    ("WORKER_RETRY_BASE_MS", "50"),
    ("SIMULATED_PROCESSING_MS", "100"),
    ("SIMULATED_FAULTS", "fail=0.1,panic=0.02,reject=0.01"),
    ("SHUTDOWN_GRACE_SECS", "5"),
];
/// Of each client, so that a few hundred are cut on each of two paths.
const CUT_REQUESTS: usize = 30;

const LOCKED_FOR: Duration = Duration::from_secs(4);

const ALLOW_AUTOCOMMIT: &str = "set global autocommit = 1";
const ALLOW_UPDATES: &str = "set global sql_safe_updates = 0";
const ALLOW_CONNECTIONS: &str = "alter user 'orders'@'%' with max_user_connections 0";

const API: [(&str, &str); 1] = [("SHUTDOWN_GRACE_SECS", "5")];

pub(super) struct Stage<'a> {
    server: &'a OwnServer,
    proxy: &'a Proxy,
    apis: Vec<Api>,
    workers: Vec<Worker>,
    addresses: Addresses,
    remedies: Vec<(Instant, Remedy)>,
    /// The strongest way to forbid writes that the server knows.
    only_reads: &'static str,
}

/// What ends a fault that lasts.
enum Remedy {
    ResumeWorker(usize),
    AllowWrites,
    RestoreProxy,
    UnlockOrders(MySqlConnection),
    ByRoot(&'static str),
}

impl<'a> Stage<'a> {
    pub(super) async fn start(server: &'a OwnServer, proxy: &'a Proxy) -> Self {
        let (apis, workers, remedies) = (Vec::new(), Vec::new(), Vec::new());
        let version: String = query_scalar("select version()").fetch_one(&server.pool).await.unwrap();
        let only_reads = if version.contains("MariaDB") { "read_only" } else { "super_read_only" };
        let addresses = Addresses::default();
        let mut stage = Self { server, proxy, apis, workers, addresses, remedies, only_reads };
        for number in 0..APIS {
            stage.apis.push(Api::start(stage.way_to_server(number), &API).await);
            stage.addresses.set(number, stage.apis[number].url(""));
        }
        for number in 0..WORKERS {
            stage.workers.push(Worker::start(stage.way_to_server(number), &WORKER).await);
        }
        stage
    }

    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Lets `fault` happen, and returns when what ends by itself has ended.
    pub(super) async fn suffer(&mut self, fault: Fault, dice: &mut Dice) {
        match fault {
            Fault::KillWorker(number) => {
                self.workers[number].kill();
                self.replace_worker(number).await;
            }
            Fault::PauseWorker(number) => {
                self.workers[number].pause();
                self.mend_after(DEAD_AFTER * 2, Remedy::ResumeWorker(number));
            }
            Fault::TerminateWorker(number) => {
                self.workers[number].resume();
                let old = self.replace_worker(number).await;
                let asked = Instant::now();
                assert_ended_well(old.terminate().await, asked);
            }
            Fault::KillApi(number) => {
                self.apis[number].kill();
                self.replace_api(number).await;
            }
            Fault::TerminateApi(number) => {
                let old = self.replace_api(number).await;
                let asked = Instant::now();
                assert_ended_well(old.terminate().await, asked);
            }
            Fault::RestartServer => {
                self.allow_connections().await;
                self.server.restart().await;
            }
            Fault::KillServer(down) => {
                self.allow_connections().await;
                self.server.kill();
                sleep(down).await;
                self.server.start_again().await;
            }
            Fault::FreezeServer(frozen) | Fault::FreezeServerForLong(frozen) => {
                self.server.freeze();
                sleep(frozen).await;
                self.server.thaw();
            }
            Fault::KillConnections => {
                let mut dice = dice.apart();
                self.server.kill_connections(|| dice.once_in(2)).await;
            }
            Fault::ReadOnly => {
                self.unlock_orders();
                self.server.execute("set global read_only = 1").await;
                self.mend_after(Duration::from_secs(1), Remedy::AllowWrites);
            }
            Fault::StallConnections => {
                self.proxy.stall();
                self.mend_after(DEAD_AFTER * 2, Remedy::RestoreProxy);
            }
            Fault::SlowConnections(delay) => {
                self.proxy.delay(delay);
                self.mend_after(DEAD_AFTER * 2, Remedy::RestoreProxy);
            }
            Fault::DropConnections => self.proxy.drop_connections(),
            Fault::LoseAnswerToCommit => self.proxy.cut_at_commit(),
            Fault::ClientsLeave(number) => {
                let api = self.apis[number].address();
                tokio::join!(
                    crowd::come_and_go(api, "/queue", 10, CUT_REQUESTS),
                    crowd::come_and_go(api, "/orders", 10, CUT_REQUESTS)
                );
            }
            Fault::LockOrders => {
                self.unlock_orders();
                let mut holder = MySqlConnection::connect(self.server.root_url()).await.unwrap();
                raw_sql("lock tables orders write").execute(&mut holder).await.unwrap();
                self.mend_after(LOCKED_FOR, Remedy::UnlockOrders(holder));
            }
            Fault::NoAutocommit => self.set_for_new_sessions("set global autocommit = 0", ALLOW_AUTOCOMMIT).await,
            Fault::SafeUpdates => self.set_for_new_sessions("set global sql_safe_updates = 1", ALLOW_UPDATES).await,
            Fault::FewConnections => {
                self.server.execute("alter user 'orders'@'%' with max_user_connections 4").await;
                self.mend_after(DEAD_AFTER * 2, Remedy::ByRoot(ALLOW_CONNECTIONS));
            }
            Fault::SuperReadOnly => {
                self.unlock_orders();
                self.server.execute(&format!("set global {} = 1", self.only_reads)).await;
                self.mend_after(Duration::from_secs(1), Remedy::AllowWrites);
            }
        }
    }

    /// Ends the lasting faults whose time has come.
    pub(super) async fn heal_what_is_due(&mut self) {
        let now = Instant::now();
        self.allow_writes_first();
        for (_, remedy) in self.remedies.extract_if(.., |(due, _)| *due <= now).collect::<Vec<_>>() {
            self.apply(remedy).await;
        }
    }

    /// Ends all faults, and waits until every program is ready.
    pub(super) async fn heal(&mut self) {
        self.allow_writes_first();
        for (_, remedy) in std::mem::take(&mut self.remedies) {
            self.apply(remedy).await;
        }
        for api in &self.apis {
            api.wait_until_ready().await;
        }
        for worker in &self.workers {
            worker.wait_until_ready().await;
        }
    }

    /// No fault is a reason for a program to end by itself.
    pub(super) fn assert_all_run(&self) {
        for api in &self.apis {
            assert_eq!(api.ended(), None, "an API has ended: {}", api.logs());
        }
        for worker in &self.workers {
            assert_eq!(worker.ended(), None, "a worker has ended: {}", worker.logs());
        }
    }

    /// A second holder of the lock, or a server that is to be read-only, would wait for the first one, and the remedy with
    /// it.
    fn unlock_orders(&mut self) {
        self.remedies.retain(|(_, remedy)| !matches!(remedy, Remedy::UnlockOrders(_)));
    }

    /// Other remedies write, as root.
    fn allow_writes_first(&mut self) {
        self.remedies.sort_by_key(|(_, remedy)| !matches!(remedy, Remedy::AllowWrites));
    }

    /// A server that starts is ready once it takes the programs' account, which must not be full by then.
    async fn allow_connections(&mut self) {
        self.allow_writes_first();
        let helps = |remedy: &Remedy| matches!(remedy, Remedy::AllowWrites | Remedy::ByRoot(ALLOW_CONNECTIONS));
        for (_, remedy) in self.remedies.extract_if(.., |(_, remedy)| helps(remedy)).collect::<Vec<_>>() {
            self.apply(remedy).await;
        }
    }

    async fn apply(&self, remedy: Remedy) {
        match remedy {
            Remedy::ResumeWorker(number) => self.workers[number].resume(),
            Remedy::AllowWrites => self.server.execute("set global read_only = 0").await,
            // It is gone if the server has been down meanwhile, and the lock with it.
            Remedy::UnlockOrders(holder) => drop(holder),
            Remedy::ByRoot(sql) => self.server.execute(sql).await,
            Remedy::RestoreProxy => {
                self.proxy.delay(Duration::ZERO);
                self.proxy.resume();
            }
        }
    }

    /// The programs get new sessions, one after the other.
    async fn set_for_new_sessions(&mut self, sql: &str, remedy: &'static str) {
        self.server.execute(sql).await;
        self.server.kill_connections(|| true).await;
        self.mend_after(DEAD_AFTER * 2, Remedy::ByRoot(remedy));
    }

    fn mend_after(&mut self, time: Duration, remedy: Remedy) {
        self.remedies.push((Instant::now() + time, remedy));
    }

    /// Starts another worker instead of one, which may run on; the database may be away just then.
    async fn replace_worker(&mut self, number: usize) -> Worker {
        let next = Worker::start_unready(self.way_to_server(number), &WORKER).await;
        std::mem::replace(&mut self.workers[number], next)
    }

    async fn replace_api(&mut self, number: usize) -> Api {
        let next = Api::start_unready(self.way_to_server(number), &API).await;
        self.addresses.set(number, next.url(""));
        std::mem::replace(&mut self.apis[number], next)
    }

    /// The first of each kind goes through the proxy.
    fn way_to_server(&self, number: usize) -> &'a str {
        if number == 0 { &self.proxy.url } else { &self.server.url }
    }
}

fn assert_ended_well(status: ExitStatus, asked: Instant) {
    assert!(status.success(), "{status}");
    assert!(asked.elapsed() < ENDED_WITHIN, "it took {:?}", asked.elapsed());
}
