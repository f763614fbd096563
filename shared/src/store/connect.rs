use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, RecycleResult, WeakPool};
use futures_util::future::join_all;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, MySqlConnection};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::error::{TOO_MANY_CONNECTIONS, number_of};
use super::{Store, StoreError};
use crate::config::InvalidSetting;

/// A connection whose last use began longer ago is tried before it is used: the server may have closed it or been restarted.
const TRIED_AFTER_IDLE: Duration = Duration::from_secs(1);

/// How long it is waited for then. A line that carries nothing any more is best given up at once: a new one may do.
const TRIED_FOR: Duration = Duration::from_millis(500);

/// A connection is closed so long after its last use began, before the server does that, after `wait_timeout`.
const KEPT_IDLE: Duration = Duration::from_secs(10);

/// A connection is closed at this age, however busy: the address may have come to mean another server, and sessions grow.
const KEPT: Duration = Duration::from_mins(30);

/// Between two looks for such connections.
const LOOK: Duration = Duration::from_secs(5);

/// Wait before the next try where a server refuses connections: it starts, or has too many. It doubles each time.
const REFUSED_RETRY_AFTER: Duration = Duration::from_millis(20);

/// How long a server may take to be told goodbye.
const GOODBYE_LIMIT: Duration = Duration::from_millis(200);

/// Set for every connection of ours.
///
/// - Gap locks of REPEATABLE READ would lock the place where new orders arrive.
/// - A value that does not fit is an error, not a shorter value, whatever the server's default.
/// - A client machine that lost its power says no goodbye. The server ends its session after `wait_timeout` seconds of
///   silence, and with it the locks of a claim that was cut in the middle.
/// - A lock that is held for longer than three seconds is held by such a one: better a retry than a wait.
const SESSION: &str = r"
    set session
        sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',
        wait_timeout = 20,
        innodb_lock_wait_timeout = 3
";

/// Where the database is and how many connections to hold.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    options: MySqlConnectOptions,
    max_connections: u32,
    acquire_timeout: Duration,
}

impl StoreSettings {
    /// Checks a URL of the form `mysql://user:password@host:port/database`.
    ///
    /// `acquire_timeout` is how long a caller waits for a connection before it is told that the database is away.
    ///
    /// # Errors
    ///
    /// When the URL is none, is for another kind of database, or names no database. The error never shows the URL,
    /// since that holds the password.
    pub fn new(url: &str, max_connections: u32, acquire_timeout: Duration) -> Result<Self, InvalidSetting> {
        let form = "must be mysql://user:password@host:port/database";
        let invalid = |why: &str| InvalidSetting::new("DATABASE_URL", format!("{form}; {why}"));
        if !url.starts_with("mysql://") && !url.starts_with("mariadb://") {
            return Err(invalid("it does not start with mysql://"));
        }
        let options: MySqlConnectOptions = url.parse().map_err(|_| invalid("it is no URL"))?;
        if options.get_database().is_none_or(str::is_empty) {
            return Err(invalid("it names no database"));
        }
        // Statements hold what callers wrote, which is in no log. Calls that are slow are logged (`store::line`).
        Ok(Self { options: options.disable_statement_logging(), max_connections, acquire_timeout })
    }

    /// Where the server is: host and port.
    #[must_use]
    pub fn server(&self) -> (&str, u16) {
        (self.options.get_host(), self.options.get_port())
    }

    /// The same database, by one connection, for what must not wait behind other calls.
    #[must_use]
    pub fn single(&self) -> Self {
        Self { max_connections: 1, ..self.clone() }
    }
}

/// Opens the connections of a pool. Not the driver's own pool, which asks the server for a sign of life each time that a
/// connection comes back.
pub(super) struct Connections(MySqlConnectOptions);

impl Manager for Connections {
    type Type = MySqlConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<MySqlConnection, sqlx::Error> {
        // Rare, and large: in a box, so that those who only take a connection that is there stay small.
        let mut connection = Box::pin(self.0.connect()).await?;
        connection.execute("set session transaction isolation level read committed").await?;
        connection.execute(SESSION).await?;
        Ok(connection)
    }

    async fn recycle(&self, connection: &mut MySqlConnection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.last_used() > TRIED_AFTER_IDLE {
            timeout(TRIED_FOR, connection.ping()).await.map_err(|_| RecycleError::message("it is silent"))??;
        }
        Ok(())
    }
}

/// The options hold the password.
impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").finish_non_exhaustive()
    }
}

impl Store {
    /// A store on this database. Opens no connection yet.
    ///
    /// # Panics
    ///
    /// Outside a runtime of tokio, which closes the connections that nobody needs.
    #[must_use]
    pub fn new(settings: StoreSettings) -> Self {
        let StoreSettings { options, max_connections, acquire_timeout } = settings;
        // The last one used is used next, so that there are no more than it takes.
        let pool = Pool::builder(Connections(options)).max_size(max_connections as usize).queue_mode(QueueMode::Lifo);
        let Ok(pool) = pool.build() else { unreachable!("only time limits of its own could want more settings") };
        tokio::spawn(close_unused(pool.weak()));
        Self { pool, acquire_timeout, batches: Arc::default() }
    }

    /// A connection out of the pool, or a new one.
    pub(super) async fn connection(&self) -> Result<Object<Connections>, sqlx::Error> {
        let deadline = Instant::now() + self.acquire_timeout;
        let mut pause = REFUSED_RETRY_AFTER;
        loop {
            let refused = match timeout_at(deadline, self.pool.get()).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(PoolError::Backend(error))) => error,
                Ok(Err(_)) => return Err(sqlx::Error::PoolClosed),
                Err(_) => {
                    let late = format!("no connection within {:?}", self.acquire_timeout);
                    return Err(io::Error::new(io::ErrorKind::TimedOut, late).into());
                }
            };
            if !may_take_one_soon(&refused) || Instant::now() + pause >= deadline {
                return Err(refused);
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    /// Asks the database for an answer.
    ///
    /// # Errors
    ///
    /// When it gives none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.call("reach the database", async {
            let mut line = self.line().await?;
            line.execute("select 1").await?;
            line.done();
            Ok(())
        })
        .await
    }

    /// Closes every connection; those of calls under way when they come back.
    pub async fn close(&self) {
        let idle = self.pool.retain(|_, _| false).removed;
        self.pool.close();
        say_goodbye(idle).await;
    }
}

/// Whether the server says no to a connection because it is not there yet, or has too many.
fn may_take_one_soon(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        error => number_of(error) == Some(TOO_MANY_CONNECTIONS),
    }
}

/// Closes connections that nobody has used for a while, or that are old, as long as there is the pool.
async fn close_unused(pool: WeakPool<Connections>) {
    loop {
        sleep(LOOK).await;
        let Some(pool) = pool.upgrade() else { return };
        let kept = |_: &MySqlConnection, metrics: Metrics| metrics.last_used() < KEPT_IDLE && metrics.age() < KEPT;
        say_goodbye(pool.retain(kept).removed).await;
    }
}

async fn say_goodbye(connections: Vec<MySqlConnection>) {
    // One that is not told sees it by itself.
    let _ = timeout(GOODBYE_LIMIT, join_all(connections.into_iter().map(Connection::close))).await;
}
