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
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            // A connection cut in the middle of an answer shows as a broken protocol.
            | sqlx::Error::Protocol(_) => true,
            error => number_of(error).is_some_and(|number| PASSING.contains(&number)),
        }
    }

    /// Whether somebody else kept a row locked for too long.
    #[must_use]
    pub fn is_lock_wait(&self) -> bool {
        number_of(&self.cause) == Some(LOCK_WAIT)
    }

    /// Whether the server said no, and did nothing. Where it did not, or was ended itself, a commit may have taken effect.
    pub(super) fn is_refusal(&self) -> bool {
        number_of(&self.cause).is_some_and(|number| !ENDED.contains(&number))
    }

    /// Whether a row with this primary key is there already.
    pub(super) fn is_duplicate(&self) -> bool {
        self.cause.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }
}

/// The server's number of an error, where it comes from the server.
pub(super) fn number_of(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// The server has as many connections as it may.
pub(super) const TOO_MANY_CONNECTIONS: u16 = 1040;

/// A lock was not to be had in time.
pub(super) const LOCK_WAIT: u16 = 1205;

/// Error numbers of MySQL and MariaDB that say that the connection, its statement or the server was ended.
const ENDED: [u16; 5] = [1053, 1317, 1927, 3169, 4031];

/// Error numbers of MySQL and MariaDB that say nothing about the statement itself.
const PASSING: [u16; 23] = [
    1020, // the record has changed since it was read (MariaDB)
    1021, // the disk is full
    TOO_MANY_CONNECTIONS,
    1044, // the user may not use this database: someone is changing rights, or the address is wrong
    1045, // the password is refused, as while it is rotated
    1049, // no such database: not made yet
    1053, // the server shuts down
    1114, // the table is full, as is the disk
    1146, // no such table: not migrated yet
    1158, // a packet could not be read
    1159, // a packet was late
    1160, // a packet could not be written
    1161, // a packet was not written in time
    1203, // the user has too many connections
    LOCK_WAIT,
    1213, // a deadlock
    1290, // the server runs with an option that forbids this, such as read_only
    1317, // the query was interrupted
    1836, // read-only mode
    1927, // the connection was killed (MariaDB)
    3032, // the server is in offline mode
    3169, // the session was killed
    4031, // the server closed an idle connection
];
