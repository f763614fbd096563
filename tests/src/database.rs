//! A database of its own for each test.

use std::time::Duration;

use reqwest::Url;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, MySqlPool};
use uuid::Uuid;

use crate::{program, server};

/// Dropping a small database takes milliseconds; a leftover is better than a test that hangs.
const DROPPED_WITHIN: Duration = Duration::from_secs(20);

/// A fresh database, dropped at the end of its test.
#[derive(Debug)]
pub struct Database {
    /// What the programs take as `DATABASE_URL`.
    pub url: String,
    /// For the test to look behind the scenes, and to move time.
    pub pool: MySqlPool,
    _leftover: Option<Leftover>,
}

/// A database that is dropped with this.
#[derive(Debug)]
struct Leftover {
    server: Url,
    name: String,
}

/// A fresh database with the tables of `orders-api migrate`.
pub async fn database() -> Database {
    let database = empty_database().await;
    migrate(&database.url).await;
    database
}

/// A fresh database without any table.
pub async fn empty_database() -> Database {
    let server = server::url().await;
    let name = format!("t_{}", Uuid::now_v7().simple());
    let mut connection = MySqlConnection::connect(server.as_str()).await.expect("the server answers");
    sqlx::raw_sql(AssertSqlSafe(format!("create database {name}")))
        .execute(&mut connection)
        .await
        .expect("the user may create databases");
    let mut url = server.clone();
    url.set_path(&name);
    let pool = pool(&url);
    Database { url: url.into(), pool, _leftover: Some(Leftover { server, name }) }
}

impl Database {
    /// A database that goes with its server, given tables; the test looks behind the scenes as `root`.
    pub(crate) async fn of_own_server(url: String, root: &Url) -> Self {
        migrate(&url).await;
        Self { url, pool: pool(root), _leftover: None }
    }

    /// Runs `orders-api migrate`, which also counts what a test put into the tables by itself.
    pub async fn migrate(&self) {
        migrate(&self.url).await;
    }

    /// How many orders there are.
    pub async fn orders(&self) -> i64 {
        sqlx::query_scalar("select count(*) from orders").fetch_one(&self.pool).await.expect("the table can be read")
    }

    /// How many orders are in `status`.
    pub async fn orders_in(&self, status: &str) -> i64 {
        sqlx::query_scalar("select count(*) from orders where status = ?")
            .bind(status)
            .fetch_one(&self.pool)
            .await
            .expect("the table can be read")
    }

    /// How many orders have not reached an end. They are counted at one moment: an order that goes from one status to
    /// another and back between two counts would be in neither.
    pub async fn open_orders(&self) -> i64 {
        sqlx::query_scalar("select count(*) from orders where status in ('PENDING', 'PROCESSING')")
            .fetch_one(&self.pool)
            .await
            .expect("the table can be read")
    }

    /// How many sessions in this database wait because somebody locked a table.
    pub async fn sessions_that_wait_for_a_table(&self) -> i64 {
        // MySQL's own list also shows what is being executed, and fails on ids in binary.
        let waiting = if self.is_mariadb().await {
            "select count(*) from information_schema.processlist
             where db = database() and state like 'Waiting for table%'"
        } else {
            "select count(*) from performance_schema.threads
             where processlist_db = database() and processlist_state like 'Waiting for table%'"
        };
        sqlx::query_scalar(waiting).fetch_one(&self.pool).await.expect("the sessions can be listed")
    }

    async fn is_mariadb(&self) -> bool {
        let version: String =
            sqlx::query_scalar("select version()").fetch_one(&self.pool).await.expect("a server has a version");
        version.contains("MariaDB")
    }

    /// An order's status and attempt.
    pub async fn state(&self, order_id: Uuid) -> (String, u16) {
        sqlx::query_as("select cast(status as char), attempt from orders where order_id = ?")
            .bind(order_id)
            .fetch_one(&self.pool)
            .await
            .expect("the order exists")
    }
}

impl Drop for Leftover {
    /// On a thread of its own: a test's runtime cannot be waited for from within.
    fn drop(&mut self) {
        let sql = format!("drop database if exists {}", self.name);
        let server = self.server.clone();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                let dropped = async {
                    let mut connection = MySqlConnection::connect(server.as_str()).await.ok()?;
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.ok()
                };
                tokio::time::timeout(DROPPED_WITHIN, dropped).await.ok().flatten()
            })
        });
        let _ = dropping.join();
    }
}

/// A test may set the server's variables against the programs. Its own sessions must not inherit them: without autocommit
/// they would look at one snapshot for ever.
fn pool(url: &Url) -> MySqlPool {
    MySqlPoolOptions::new()
        .max_connections(2)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute("set autocommit = 1, sql_safe_updates = 0").await.map(drop) })
        })
        .connect_lazy(url.as_str())
        .expect("the URL is sound")
}

async fn migrate(url: &str) {
    let output = program::run("orders-api", &["migrate"], &[("DATABASE_URL", url)]).await;
    assert!(output.status.success(), "orders-api migrate: {}", program::text_of(&output));
}
