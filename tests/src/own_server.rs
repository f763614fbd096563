//! A database server that one test has to itself, to be ended, frozen and set as the test likes.

mod container;
mod installed;
mod process;

use std::env;
use std::fmt::Debug;
use std::ops::Deref;
use std::time::Duration;

use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use tokio::task::block_in_place;
use uuid::Uuid;

use self::container::Container;
use self::installed::Installed;
use self::process::ServerProcess;
use crate::{Database, eventually};

/// A first start in a container takes a quarter of a minute; a loaded machine several times as long.
const READY_WITHIN: Duration = Duration::from_mins(4);

/// How long one attempt to reach a server may take that is just starting, or frozen by mistake.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// A running server with one database, `orders`. Dropping it leaves nothing behind.
///
/// The programs come to it as a user of no privileges beyond that database, so that `read_only` and `max_connections`
/// hold for them; the test comes as root. Its tests need a runtime of several threads.
#[derive(Debug)]
pub struct OwnServer {
    database: Database,
    root: Url,
    place: Box<dyn Place>,
}

/// Where the server runs. Dropping it leaves nothing behind. Each call returns when it is done.
trait Place: Debug + Send + Sync {
    fn port(&self) -> u16;
    fn kill(&self);
    fn stop(&self);
    fn start_again(&self);
    fn freeze(&self);
    fn thaw(&self);
    fn assert_runs(&self);
}

impl OwnServer {
    /// Starts a server as durable as in use, with further options such as `--max-connections=20`, and migrates its
    /// database.
    pub async fn start(extra_args: &[&str]) -> Self {
        let password = Uuid::now_v7().simple().to_string();
        let place = block_in_place(|| start_somewhere(&password, extra_args));
        let root = format!("mysql://root:{password}@127.0.0.1:{}", place.port());
        let mut root = Url::parse(&root).expect("an address is a URL");
        answers(&*place, &root).await;
        execute(&root, "create database orders character set utf8mb4").await;
        execute(&root, &format!("create user 'orders'@'%' identified by '{password}'")).await;
        execute(&root, "grant all on orders.* to 'orders'@'%'").await;
        root.set_path("orders");
        let mut programs = root.clone();
        programs.set_username("orders").expect("the URL takes a user");
        Self { database: Database::of_own_server(programs.into(), &root).await, root, place }
    }

    /// Ends the server by SIGKILL, as a power cut would.
    pub fn kill(&self) {
        block_in_place(|| self.place.kill());
    }

    /// Ends the server in good order, which lets it finish what is under way.
    pub fn stop(&self) {
        block_in_place(|| self.place.stop());
    }

    /// Starts the server that was ended, on its data and its address, and waits until it answers.
    pub async fn start_again(&self) {
        block_in_place(|| self.place.start_again());
        self.is_ready().await;
    }

    /// Ends the server in good order and starts it again.
    pub async fn restart(&self) {
        self.stop();
        self.start_again().await;
    }

    /// From now on the server does nothing, though connections to it stay open.
    pub fn freeze(&self) {
        block_in_place(|| self.place.freeze());
    }

    /// The frozen server goes on where it was.
    pub fn thaw(&self) {
        block_in_place(|| self.place.thaw());
    }

    /// Runs SQL as root, on a connection of its own.
    pub async fn execute(&self, sql: &str) {
        execute(&self.root, sql).await;
    }

    /// The numbers of the programs' connections.
    pub async fn connections(&self) -> Vec<i64> {
        let mut root = MySqlConnection::connect(self.root.as_str()).await.expect("the server answers root");
        let version: String =
            sqlx::query_scalar("select version()").fetch_one(&mut root).await.expect("a server has a version");
        // MySQL's own list also shows what is being executed, and fails on ids in binary.
        let sessions = if version.contains("MariaDB") {
            "select cast(id as signed) from information_schema.processlist where user = 'orders'"
        } else {
            "select cast(processlist_id as signed) from performance_schema.threads where processlist_user = 'orders'"
        };
        sqlx::query_scalar(sessions).fetch_all(&mut root).await.expect("root may see all connections")
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
    async fn is_ready(&self) {
        answers(&*self.place, &self.root).await;
        let programs = Url::parse(&self.database.url).expect("the URL was one before");
        answers(&*self.place, &programs).await;
    }
}

impl Deref for OwnServer {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

/// Starts the kind of server that the other tests of the run use, as far as this machine has it.
fn start_somewhere(password: &str, extra_args: &[&str]) -> Box<dyn Place> {
    let is_on_docker = env::var_os("ORDERS_TEST_CONTAINER").is_some() || env::var_os("TEST_DATABASE_URL").is_none();
    match Installed::find() {
        Some(server) if !is_on_docker => Box::new(ServerProcess::start(&server, password, extra_args)),
        _ => Box::new(Container::start(password, extra_args)),
    }
}

/// Waits until the server answers whoever `url` names.
async fn answers(place: &dyn Place, url: &Url) {
    eventually("the server of the test's own answers", READY_WITHIN, || async {
        block_in_place(|| place.assert_runs());
        let asked = async {
            let mut connection = MySqlConnection::connect(url.as_str()).await.ok()?;
            connection.ping().await.ok()
        };
        tokio::time::timeout(ANSWERED_WITHIN, asked).await.ok().flatten()
    })
    .await;
}

async fn execute(server: &Url, sql: &str) {
    let mut connection = MySqlConnection::connect(server.as_str()).await.expect("the server answers root");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
