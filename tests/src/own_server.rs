//! A database server that one test has to itself, to be ended, frozen and set as the test likes.

mod clock;
mod container;
mod installed;
mod process;
mod runner;

use std::env;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use tokio::task::block_in_place;
use uuid::Uuid;

use self::clock::Clock;
use self::container::Container;
use self::installed::Installed;
use self::process::ServerProcess;
use self::runner::{Extras, Runner};
use crate::database::Database;
use crate::eventually::eventually;
use crate::server;

/// A first start in a container takes a quarter of a minute; a loaded machine several times as long.
const READY_WITHIN: Duration = Duration::from_mins(4);

/// A server looks at its moved clock once a second.
const MOVED_WITHIN: Duration = Duration::from_secs(20);

/// How long one attempt to reach a server may take that is just starting, or frozen by mistake.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// A running server with one database, `orders`. Dropping it leaves nothing behind.
///
/// The programs come to it as a user of no privileges beyond that database, so that `read_only` and `max_connections`
/// hold for them; the test comes as root. It resolves its clients' names, as servers do by default, and is not reached
/// over loopback where this machine has another way. Its tests need a runtime of several threads.
#[derive(Debug)]
pub struct OwnServer {
    database: Database,
    root: Url,
    runner: Box<dyn Runner>,
    clock: Option<Clock>,
}

impl OwnServer {
    /// Starts a server as durable as in use, with further options such as `--max-connections=20`, and migrates its
    /// database.
    pub async fn start(args: &[&str]) -> Self {
        Self::start_with(Extras { args, ..Extras::default() }).await
    }

    /// Starts such a server, which sees `folder` under this name.
    pub async fn start_beside(folder: &Path, args: &[&str]) -> Self {
        Self::start_with(Extras { args, paths: vec![folder], ..Extras::default() }).await
    }

    /// Starts such a server with a clock that the test may move; for tests named `server_clock::…`, which a run skips
    /// where no clock can be moved.
    pub async fn start_with_movable_clock(args: &[&str]) -> Self {
        let clock = Clock::new();
        let server = Self::start_with(Extras { args, env: clock.env(), paths: clock.paths() }).await;
        let server = Self { clock: Some(clock), ..server };
        server.wait_until_clock_is_moved_by(0).await;
        server
    }

    async fn start_with(extras: Extras<'_>) -> Self {
        let password = Uuid::now_v7().simple().to_string();
        let runner = block_in_place(|| start_somewhere(&password, &extras));
        let mut root = wait_for_root_url(&*runner, &password).await;
        execute(&root, "create database orders character set utf8mb4").await;
        execute(&root, &format!("create user 'orders'@'%' identified by '{password}'")).await;
        execute(&root, "grant all on orders.* to 'orders'@'%'").await;
        root.set_path("orders");
        let mut programs = root.clone();
        programs.set_username("orders").expect("the URL takes a user");
        Self { database: Database::of_own_server(programs.into(), &root).await, root, runner, clock: None }
    }

    /// Whether the server counts the interrupted handshakes of the programs: those over loopback it forgives.
    #[must_use]
    pub fn is_off_loopback(&self) -> bool {
        !self.address().ip().is_loopback()
    }

    /// Where the server is reached.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        address_in(&self.root)
    }

    /// The database's URL for root.
    #[must_use]
    pub fn root_url(&self) -> &str {
        self.root.as_str()
    }

    /// Sets the server's clock to so many seconds ahead of this machine's, or behind it if negative, and waits until the
    /// server goes by it.
    pub async fn move_clock(&self, seconds: i64) {
        let clock = self.clock.as_ref().expect("the server was started with a movable clock");
        clock.set(seconds);
        self.wait_until_clock_is_moved_by(seconds).await;
    }

    async fn wait_until_clock_is_moved_by(&self, seconds: i64) {
        let what = format!("the server's clock is {seconds} s ahead of this machine's (libfaketime moves it)");
        eventually(&what, MOVED_WITHIN, || async {
            let now: f64 = sqlx::query_scalar("select cast(unix_timestamp(now(6)) as double)")
                .fetch_one(&self.database.pool)
                .await
                .expect("the server tells the time");
            let ahead = Duration::try_from_secs_f64(now).expect("it is after 1970").as_secs();
            let here = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
            (ahead.cast_signed() - here.cast_signed() - seconds).abs().le(&2).then_some(())
        })
        .await;
    }

    /// Ends the server by SIGKILL, as a power cut would.
    pub fn kill(&self) {
        block_in_place(|| self.runner.kill());
    }

    /// Ends the server in good order, which lets it finish what is under way.
    pub fn stop(&self) {
        block_in_place(|| self.runner.stop());
    }

    /// Starts the server that was ended, on its data and its address, and waits until it answers.
    pub async fn start_again(&self) {
        block_in_place(|| self.runner.start_again());
        self.wait_until_ready().await;
    }

    /// Ends the server in good order and starts it again.
    pub async fn restart(&self) {
        self.stop();
        self.start_again().await;
    }

    /// From now on the server does nothing, though connections to it stay open.
    pub fn freeze(&self) {
        block_in_place(|| self.runner.freeze());
    }

    /// The frozen server goes on where it was.
    pub fn thaw(&self) {
        block_in_place(|| self.runner.thaw());
    }

    /// Runs SQL as root, on a connection of its own.
    pub async fn execute(&self, sql: &str) {
        execute(&self.root, sql).await;
    }

    /// The numbers of the programs' connections.
    pub async fn connections(&self) -> Vec<i64> {
        let mut root = MySqlConnection::connect(self.root.as_str()).await.expect("the server answers root");
        connections_seen_by(&mut root).await
    }

    /// Ends all of the programs' connections, as `root`, a session that was there before.
    pub async fn end_connections(&self, root: &mut MySqlConnection) {
        for id in connections_seen_by(root).await {
            // It may have ended by itself meanwhile.
            let _ = sqlx::raw_sql(AssertSqlSafe(format!("kill {id}"))).execute(&mut *root).await;
        }
    }

    /// Ends those of the programs' connections that `is_chosen` chooses.
    pub async fn kill_connections(&self, mut is_chosen: impl FnMut() -> bool) {
        for id in self.connections().await.into_iter().filter(|_| is_chosen()) {
            self.kill_connection(id).await;
        }
    }

    /// Ends one of the programs' connections.
    pub async fn kill_connection(&self, id: i64) {
        // It may have ended by itself meanwhile.
        let _ = sqlx::raw_sql(AssertSqlSafe(format!("kill {id}"))).execute(&self.database.pool).await;
    }

    /// Waits until the server takes both root and the programs. (MySQL takes a user without TLS, as by way of a proxy,
    /// only after a first time with it.)
    async fn wait_until_ready(&self) {
        wait_until_answers(&*self.runner, &self.root).await;
        let programs = Url::parse(&self.database.url).expect("the URL was one before");
        wait_until_answers(&*self.runner, &programs).await;
    }
}

impl Deref for OwnServer {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

async fn connections_seen_by(root: &mut MySqlConnection) -> Vec<i64> {
    let version: String =
        sqlx::query_scalar("select version()").fetch_one(&mut *root).await.expect("a server has a version");
    // MySQL's own list also shows what is being executed, and fails on ids in binary.
    let sessions = if version.contains("MariaDB") {
        "select cast(id as signed) from information_schema.processlist where user = 'orders'"
    } else {
        "select cast(processlist_id as signed) from performance_schema.threads where processlist_user = 'orders'"
    };
    sqlx::query_scalar(sessions).fetch_all(root).await.expect("root may see all connections")
}

/// Starts the kind of server that the other tests of the run use, as far as this machine has it.
fn start_somewhere(password: &str, extras: &Extras<'_>) -> Box<dyn Runner> {
    let is_on_docker = env::var_os("ORDERS_TEST_CONTAINER").is_some() || env::var_os("TEST_DATABASE_URL").is_none();
    match Installed::find() {
        Some(server) if !is_on_docker => Box::new(ServerProcess::start(&server, password, extras)),
        _ => Box::new(Container::start(password, extras)),
    }
}

/// Waits until the server that starts answers root, and returns root's URL by the best of its addresses.
async fn wait_for_root_url(runner: &dyn Runner, password: &str) -> Url {
    let url = |address: &SocketAddr| {
        Url::parse(&format!("mysql://root:{password}@{address}?ssl-mode=PREFERRED")).expect("an address is a URL")
    };
    let ways: Vec<Url> = runner.addresses().iter().map(url).collect();
    let (surest, better) = ways.split_last().expect("a server has an address");
    wait_until_answers(runner, surest).await;
    for way in better {
        if answer(way).await.is_some() {
            return way.clone();
        }
    }
    surest.clone()
}

fn address_in(url: &Url) -> SocketAddr {
    let host = url.host_str().expect("the URL has a host").trim_matches(['[', ']']);
    SocketAddr::new(host.parse().expect("the host is an address"), url.port().unwrap_or(3306))
}

/// Waits until the server answers the user of `url`.
async fn wait_until_answers(runner: &dyn Runner, url: &Url) {
    eventually("the server of the test's own answers", READY_WITHIN, || async {
        block_in_place(|| runner.assert_runs());
        answer(url).await
    })
    .await;
}

async fn answer(url: &Url) -> Option<()> {
    tokio::time::timeout(ANSWERED_WITHIN, server::answer(url)).await.ok().flatten()
}

async fn execute(server: &Url, sql: &str) {
    let mut connection = MySqlConnection::connect(server.as_str()).await.expect("the server answers root");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
