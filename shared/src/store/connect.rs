use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor};

use super::{Store, StoreError};
use crate::config::InvalidSetting;

/// A connection that lay idle for longer is tried before it is used: the server may have closed it or been restarted.
const TRIED_AFTER_IDLE: Duration = Duration::from_secs(1);

/// How long it is waited for then. A line that carries nothing any more is best given up at once: a new one may do.
const TRIED_FOR: Duration = Duration::from_millis(500);

/// How long an idle connection is kept. Below `wait_timeout`, so that the server does not close it first.
const KEPT_IDLE: Duration = Duration::from_secs(15);

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

impl Store {
    /// A store on this database. Opens no connection yet.
    #[must_use]
    pub fn new(settings: StoreSettings) -> Self {
        let pool = MySqlPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            .idle_timeout(KEPT_IDLE)
            .test_before_acquire(false)
            .before_acquire(|connection, idle| {
                Box::pin(async move {
                    if idle.idle_for > TRIED_AFTER_IDLE {
                        return Ok(tokio::time::timeout(TRIED_FOR, connection.ping()).await.is_ok_and(|it| it.is_ok()));
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute("set session transaction isolation level read committed").await?;
                    connection.execute(SESSION).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(settings.options);
        Self { pool }
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

    /// Closes every connection; calls under way are waited for, but no longer than a moment.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(Duration::from_millis(200), self.pool.close()).await;
    }
}
