use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor};
use tracing::log::LevelFilter;

use super::{Store, StoreError};
use crate::config::InvalidSetting;

/// A connection that lay idle for longer is tried before it is used: the server may have closed it or been restarted.
const TRIED_AFTER_IDLE: Duration = Duration::from_secs(1);

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
        // Slow statements are worth a warning; a statement as such is not.
        let options =
            options.log_statements(LevelFilter::Trace).log_slow_statements(LevelFilter::Warn, Duration::from_secs(1));
        Ok(Self { options, max_connections, acquire_timeout })
    }
}

impl Store {
    /// A store on this database. Opens no connection yet.
    #[must_use]
    pub fn new(settings: StoreSettings) -> Self {
        let pool = MySqlPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, idle| {
                Box::pin(async move {
                    if idle.idle_for > TRIED_AFTER_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // One set of rules whatever the server's defaults: gap locks of REPEATABLE READ would lock the
                    // place where new orders arrive, and a value that does not fit is an error, not a shorter value.
                    connection.execute("set session transaction isolation level read committed").await?;
                    connection.execute("set session sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'").await?;
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
        self.pool.execute("select 1").await.map_err(StoreError::when("reach the database"))?;
        Ok(())
    }

    /// Closes every connection; calls under way are waited for.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
