//! A database of its own for each test.

use std::time::Duration;

use reqwest::Url;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::{AssertSqlSafe, Connection, Decode, Executor, MySql, MySqlConnection, MySqlPool, Type};
use uuid::Uuid;

use crate::eventually::{SOON, eventually, wait_until};
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

    /// Runs statements without their results.
    pub async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The only value that a statement gives.
    pub async fn scalar<T>(&self, sql: &str) -> T
    where
        T: for<'r> Decode<'r, MySql> + Type<MySql> + Send + Unpin,
    {
        let value = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.pool).await;
        value.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// How many orders there are.
    pub async fn orders(&self) -> i64 {
        self.scalar("select count(*) from orders").await
    }

    /// How many orders are in `status`.
    pub async fn orders_in(&self, status: &str) -> i64 {
        self.scalar(&format!("select count(*) from orders where status = '{status}'")).await
    }

    /// How many orders have not reached an end. They are counted at one moment: an order that goes from one status to
    /// another and back between two counts would be in neither.
    pub async fn open_orders(&self) -> i64 {
        self.scalar("select count(*) from orders where status in ('PENDING', 'PROCESSING')").await
    }

    /// Waits until so many orders are in `status`.
    pub async fn wait_for_orders_in(&self, status: &str, orders: i64) {
        wait_until(&format!("{orders} orders are {status}"), async || self.orders_in(status).await == orders).await;
    }

    /// Waits until an order is stored as `status`.
    pub async fn wait_for_status(&self, order_id: Uuid, status: &str) {
        wait_until(&format!("the order is {status}"), async || self.state(order_id).await.0 == status).await;
    }

    /// Waits until more orders are completed than now: the system works.
    pub async fn wait_until_more_are_completed(&self) {
        let before = self.orders_in("COMPLETED").await;
        wait_until("orders are completed", async || self.orders_in("COMPLETED").await > before + 20).await;
    }

    /// Waits until every order has reached an end, for as long as the number of open orders goes down.
    pub async fn wait_until_none_is_open(&self) {
        let mut least = i64::MAX;
        while least > 0 {
            least = eventually(&format!("fewer than {least} orders are open"), SOON, || async {
                let open = self.open_orders().await;
                (open < least).then_some(open)
            })
            .await;
        }
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
        self.scalar(waiting).await
    }

    /// Whether the server is a MariaDB.
    pub async fn is_mariadb(&self) -> bool {
        self.scalar::<String>("select version()").await.contains("MariaDB")
    }

    /// A column of an order.
    pub async fn column<T>(&self, order_id: Uuid, column: &str) -> T
    where
        T: for<'r> Decode<'r, MySql> + Type<MySql> + Send + Unpin,
    {
        let sql = format!("select {column} from orders where order_id = ?");
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(order_id).fetch_one(&self.pool).await.expect("the order exists")
    }

    /// Sets columns of an order, such as `rescues = 2`, past the programs.
    pub async fn set(&self, order_id: Uuid, columns: &str) {
        let sql = format!("update orders set {columns} where order_id = ?");
        let changed = sqlx::query(AssertSqlSafe(sql)).bind(order_id).execute(&self.pool).await;
        assert_eq!(changed.expect("the columns can be set").rows_affected(), 1, "{columns}");
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

impl AsRef<Database> for Database {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Drop for Leftover {
    /// Uses a thread of its own, since a drop cannot wait for the test's runtime.
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

/// A test may set variables of the server that get in the programs' way. Its own sessions must not inherit them:
/// without autocommit they would see one snapshot for ever.
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
