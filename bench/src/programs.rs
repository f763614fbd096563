//! The programs that are measured.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::addresses::{free_port, loopback};
use xtask::process::Process;

use crate::http::Connection;

/// A program is ready within a second or two of its start, or never.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// Between two polls of its readiness.
const POLL: Duration = Duration::from_millis(20);

/// Orders that a worker works on at once. The work is empty, so the slots only limit how many orders a claim and a
/// commit can take: here two claims of the largest size, and as many orders that wait for their commits.
const SLOTS: &str = "2000";

/// The same where each order waits for the answer of a service.
const PUSHING_SLOTS: &str = "256";

/// How the programs are started, and the most memory that each has had.
pub(crate) struct Programs {
    api: PathBuf,
    worker: PathBuf,
    database_url: String,
    pub(crate) api_peak: Rc<Cell<u64>>,
    pub(crate) worker_peak: Rc<Cell<u64>>,
}

impl Programs {
    pub(crate) fn new(api: PathBuf, worker: PathBuf, database_url: String) -> Self {
        Self { api, worker, database_url, api_peak: Rc::default(), worker_peak: Rc::default() }
    }

    pub(crate) async fn api(&self) -> Result<Program> {
        self.start("orders-api", &self.api, [("API_LISTEN", "")], &self.api_peak).await
    }

    pub(crate) async fn worker(&self) -> Result<Program> {
        let env = [("WORKER_LISTEN", ""), ("WORKER_CONCURRENCY", SLOTS), ("SIMULATED_PROCESSING_MS", "0")];
        self.start("orders-worker", &self.worker, env, &self.worker_peak).await
    }

    /// A worker that pushes orders to a service.
    pub(crate) async fn pushing_worker(&self, service: SocketAddr) -> Result<Program> {
        let url = format!("http://{service}/orders");
        let env = [
            ("WORKER_LISTEN", ""),
            ("WORKER_CONCURRENCY", PUSHING_SLOTS),
            ("FULFILMENT_URL", &url),
            ("FULFILMENT_SECRET", "whsec_dGhpcyBzZWNyZXQgaXMgb25seSBmb3IgYSBiZW5jaG1hcms="),
        ];
        self.start("orders-worker", &self.worker, env, &self.worker_peak).await
    }

    /// Starts a program with these settings, the first of which is where it listens: the address is found here.
    async fn start<const N: usize>(
        &self,
        name: &'static str,
        path: &Path,
        env: [(&str, &str); N],
        peak: &Rc<Cell<u64>>,
    ) -> Result<Program> {
        let address = loopback(free_port()?);
        let mut command = Command::new(path);
        command.env("DATABASE_URL", &self.database_url).envs(env);
        if let Some((listen, _)) = env.first() {
            command.env(listen, address.to_string());
        }
        command.env("SHUTDOWN_GRACE_SECS", "2").env("RUST_LOG", "error");
        let process = Process::start_in_our_group(name, &mut command)?;
        let program = Program { name, process, address, peak: Rc::clone(peak) };
        let started = Instant::now();
        while !is_ready(address).await {
            if started.elapsed() > READY_LIMIT {
                bail!("{name} is not ready within {} s", READY_LIMIT.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(program)
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    match Connection::open(address).await {
        Ok(mut connection) => connection.read("/readyz").await.is_ok(),
        Err(_) => false,
    }
}

/// A program that runs; dropping it stops it.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    process: Process,
    pub(crate) address: SocketAddr,
    peak: Rc<Cell<u64>>,
}

impl Program {
    pub(crate) async fn connect(&self) -> Result<Connection> {
        Connection::open(self.address).await
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Leaves its memory out of the peak of all shapes.
    pub(crate) fn apart(mut self) -> Self {
        self.peak = Rc::default();
        self
    }

    /// The most resident memory that it has had, in bytes.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.peak.set(self.peak.get().max(self.peak_bytes().unwrap_or(0)));
    }
}

/// Orders that a worker has completed so far, by its own count.
pub(crate) async fn completed(connection: &mut Connection) -> Result<u64> {
    let metrics = connection.read("/metrics/prometheus").await?;
    let count = metrics.lines().find_map(|line| line.strip_prefix("orders_completed_total ")?.parse().ok());
    count.context("the worker does not report how many orders it has completed")
}
