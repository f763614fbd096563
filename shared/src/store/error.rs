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
                error.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|error| PASSING.contains(&error.number()))
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
const PASSING: [u16; 12] = [
    1020, // the record has changed since it was read (MariaDB)
    1040, // too many connections
    1053, // the server shuts down
    1203, // the user has too many connections
    1205, // a lock was not to be had in time
    1213, // a deadlock
    1290, // the server runs with an option that forbids this, such as read_only
    1317, // the query was interrupted
    1836, // read-only mode
    1927, // the connection was killed (MariaDB)
    3032, // the server is in offline mode
    3169, // the session was killed
];
