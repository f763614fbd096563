//! A database server that one test has to itself, to be ended, frozen and set as the test likes.

mod clock;

use std::env;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use tokio::task::block_in_place;
use tokio::time::timeout;
use uuid::Uuid;
use xtask::data_dir::DataDir;
use xtask::interrupt::Interrupt;
use xtask::servers::{Engine, Program, Purpose, Server, Spec};

use self::clock::Clock;
use crate::database::Database;
use crate::eventually::eventually;
use crate::folder::Folder;
use crate::{program, server};

/// A start after a kill repairs the data: seconds, on a loaded machine several times as long.
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
    server: Mutex<Server>,
    clock: Option<Clock>,
    _folder: Folder,
}

impl OwnServer {
    /// Starts a server as durable as in use, with further options such as `--max-connections=20`, and migrates its
    /// database.
    pub async fn start(args: &[&str]) -> Self {
        Self::start_with(Spec { options: args, ..Spec::of(Purpose::OneTest) }).await
    }

    /// Starts such a server, which sees `folder` under this name.
    pub async fn start_beside(folder: &Path, args: &[&str]) -> Self {
        Self::start_with(Spec { options: args, paths: &[folder], ..Spec::of(Purpose::OneTest) }).await
    }

    /// Starts such a server with a clock that the test may move; for tests named `server_clock::…`, which a run skips
    /// where no clock can be moved.
    pub async fn start_with_movable_clock(args: &[&str]) -> Self {
        let clock = Clock::new();
        let (env, paths) = (clock.env(), clock.paths());
        let spec = Spec { purpose: Purpose::OneTest, options: args, env: &env, paths: &paths };
        let mut server = Self::start_with(spec).await;
        server.clock = Some(clock);
        server.wait_until_clock_is_moved_by(0).await;
        server
    }

    async fn start_with(spec: Spec<'_>) -> Self {
        let folder = Folder::new("own-server");
        let server = block_in_place(|| start_somewhere(&spec, &DataDir::of_test(folder.path().to_owned())));
        let server = server.unwrap_or_else(|error| panic!("{error:#}"));
        let root = Url::parse(&server.url()).expect("a server has a URL");
        let database = Database::of_own_server(server.url_for("orders"), &root).await;
        Self { database, root, server: Mutex::new(server), clock: None, _folder: folder }
    }

    /// Whether the server counts the interrupted handshakes of the programs: those over loopback it forgives.
    #[must_use]
    pub fn is_off_loopback(&self) -> bool {
        self.server().is_off_loopback()
    }

    /// Where the server is reached.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server().address()
    }

    /// The database's URL for root.
    #[must_use]
    pub fn root_url(&self) -> &str {
        self.root.as_str()
    }

    /// Sets the server's clock to so many seconds ahead of this machine's, or behind it if negative, and waits until
    /// the server goes by it.
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
        self.drive(|server| server.kill());
    }

    /// Ends the server in good order, which lets it finish what is under way.
    pub fn stop(&self) {
        self.drive(|server| server.stop());
    }

    /// Starts the server that was ended, on its data and its address, and waits until it answers.
    pub async fn start_again(&self) {
        self.drive(|server| server.start_again());
        self.wait_until_ready().await;
    }

    /// Ends the server in good order and starts it again.
    pub async fn restart(&self) {
        self.stop();
        self.start_again().await;
    }

    /// From now on the server does nothing, though connections to it stay open.
    pub fn freeze(&self) {
        self.drive(|server| server.freeze());
    }

    /// The frozen server goes on where it was.
    pub fn thaw(&self) {
        self.drive(|server| server.thaw());
    }

    fn drive<T>(&self, action: impl FnOnce(&mut Server) -> Result<T>) -> T {
        block_in_place(|| action(&mut self.server())).unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
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
        for user in [self.root.as_str(), &self.database.url] {
            let url = Url::parse(user).expect("the URL was one before");
            eventually("the server of the test's own answers", READY_WITHIN, || async {
                let exit_report = self.drive(|server| server.exit_report());
                assert_eq!(exit_report, None, "the server has ended");
                timeout(ANSWERED_WITHIN, server::answer(&url)).await.ok().flatten()
            })
            .await;
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        if thread::panicking() {
            program::show("the test's own server", &self.server().log());
        }
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
fn start_somewhere(spec: &Spec<'_>, data: &DataDir) -> Result<Server> {
    let never = Interrupt::never();
    let run = env::var("ORDERS_TEST_CONTAINER");
    let is_on_docker = run.is_ok() || env::var_os("TEST_DATABASE_URL").is_none();
    match Program::find(&never)? {
        Some(program) if !is_on_docker => Server::installed(&program, spec, data, &never),
        _ => {
            let run = run.as_deref().unwrap_or("orders-tests");
            let name = format!("{run}-{}", Uuid::now_v7().simple());
            Server::in_container(Engine::find(&never)?, name, spec, data, &never)
        }
    }
}

async fn execute(server: &Url, sql: &str) {
    let mut connection = MySqlConnection::connect(server.as_str()).await.expect("the server answers root");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
