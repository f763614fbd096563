use sqlx::mysql::MySqlDatabaseError;

/// A database operation that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing}")]
pub struct StoreError {
    doing: &'static str,
    #[source]
    cause: sqlx::Error,
}

impl StoreError {
    /// Says what was tried; made for `map_err`.
    pub(super) fn when(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |cause| Self { doing, cause }
    }

    /// Whether the same call may succeed later: the database is away, too busy, read-only, or undid the transaction.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match &self.cause {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            // A connection cut in the middle of an answer shows as a broken protocol.
            | sqlx::Error::Protocol(_) => true,
            sqlx::Error::Database(error) => {
                error.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|error| is_passing(error.number()))
            }
            _ => false,
        }
    }

    /// Whether a row with this primary key is there already.
    pub(super) fn is_duplicate(&self) -> bool {
        self.cause.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }
}

/// Error numbers of MySQL and MariaDB that say nothing about the statement itself.
fn is_passing(number: u16) -> bool {
    const TOO_MANY_CONNECTIONS: u16 = 1040;
    const RECORD_CHANGED: u16 = 1020;
    const SERVER_SHUTDOWN: u16 = 1053;
    const USER_HAS_TOO_MANY_CONNECTIONS: u16 = 1203;
    const LOCK_WAIT_TIMEOUT: u16 = 1205;
    const DEADLOCK: u16 = 1213;
    const RUNNING_WITH_OPTION_READ_ONLY: u16 = 1290;
    const QUERY_INTERRUPTED: u16 = 1317;
    const READ_ONLY_MODE: u16 = 1836;
    const CONNECTION_KILLED: u16 = 1927;
    const SESSION_KILLED: u16 = 3169;
    const SERVER_OFFLINE: u16 = 3032;
    matches!(
        number,
        TOO_MANY_CONNECTIONS
            | RECORD_CHANGED
            | SERVER_SHUTDOWN
            | USER_HAS_TOO_MANY_CONNECTIONS
            | LOCK_WAIT_TIMEOUT
            | DEADLOCK
            | RUNNING_WITH_OPTION_READ_ONLY
            | QUERY_INTERRUPTED
            | READ_ONLY_MODE
            | CONNECTION_KILLED
            | SESSION_KILLED
            | SERVER_OFFLINE
    )
}
