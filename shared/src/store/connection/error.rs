//! What failures of the database mean. Every method of the store fails with a [`StoreError`] if the database is away;
//! methods name other reasons where they matter.

use std::{fmt, io};

use sqlx::mysql::MySqlDatabaseError;

use crate::store::sql::Oversized;

/// A database operation that failed, or whose outcome is unknown.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing}")]
pub struct StoreError {
    doing: &'static str,
    #[source]
    cause: sqlx::Error,
}

/// What a failure means to its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The server cannot be reached, does not let us in, or has not been set up yet.
    Away,
    /// The server, or our share of its connections, has no capacity left.
    Busy,
    /// Somebody else held a lock on a row or a table for too long.
    Locked,
    /// A row with this primary key exists already.
    Duplicate,
    /// The server takes no writes: it is a replica, or was demoted to one.
    ReadOnly,
    /// The server has no room left to write to.
    Full,
    /// The statement has more bytes than the server accepts at once. It cannot ever succeed as it is.
    TooLarge,
    /// The server rejected the statement for another reason.
    Rejected,
}

impl ErrorKind {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Away | Self::Busy | Self::Locked | Self::ReadOnly | Self::Full)
    }
}

impl StoreError {
    /// Makes an error that says what was tried; for `map_err`.
    pub(in crate::store) fn when(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |cause| Self { doing, cause }
    }

    /// What the failure means.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        kind_of(&self.cause)
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.kind().is_passing()
    }

    /// True if the server rejected the statement or never got it, so that it had no effect. Otherwise a commit may have
    /// taken effect.
    #[must_use]
    pub fn had_no_effect(&self) -> bool {
        match &self.cause {
            sqlx::Error::Io(error) if unconnected(error).is_some() => true,
            cause => number_of(cause)
                .is_some_and(|number| meaning_of(number).is_none_or(|meaning| meaning.effect == Effect::None)),
        }
    }
}

/// There was no connection: nothing was sent.
#[derive(Clone, Debug)]
pub(in crate::store) struct Unconnected {
    pub(in crate::store) kind: ErrorKind,
    pub(in crate::store) why: String,
}

impl fmt::Display for Unconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Unconnected {}

impl Unconnected {
    /// Why a connection could not be opened, with the remedy if it is known.
    pub(in crate::store) fn by(error: &sqlx::Error) -> Self {
        let why = match cure_of(error) {
            Some(cure) => format!("{error} ({cure})"),
            None => error.to_string(),
        };
        Self { kind: kind_of(error), why }
    }
}

impl From<Unconnected> for sqlx::Error {
    fn from(unconnected: Unconnected) -> Self {
        Self::Io(io::Error::other(unconnected))
    }
}

/// What a driver's error means.
pub(in crate::store) fn kind_of(error: &sqlx::Error) -> ErrorKind {
    match error {
        sqlx::Error::Io(error) => unconnected(error).map_or(ErrorKind::Away, |unconnected| unconnected.kind),
        // The driver reports a connection cut in the middle of an answer as a violation of the protocol.
        sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) => {
            ErrorKind::Away
        }
        sqlx::Error::Encode(error) if error.is::<Oversized>() => ErrorKind::TooLarge,
        error if number_of(error) == Some(STORAGE_ENGINE) && !is_out_of_room(error) => ErrorKind::Rejected,
        error => number_of(error).and_then(meaning_of).map_or(ErrorKind::Rejected, |meaning| meaning.kind),
    }
}

/// The number of all errors of a storage engine; the text has the reason.
const STORAGE_ENGINE: u16 = 1030;

/// Whether the text of an error names the operating system's errors for a full disk (28) or a used-up quota (122).
fn is_out_of_room(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        let text = error.message();
        ["error 28 ", "error 122 ", "No space left"].iter().any(|reason| text.contains(reason))
    })
}

fn unconnected(error: &io::Error) -> Option<&Unconnected> {
    error.get_ref()?.downcast_ref()
}

/// The number of an error, if it comes from the server.
pub(in crate::store) fn number_of(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// Whether a statement that failed in this way may have taken effect all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// It has not.
    None,
    /// The connection, the statement or the server was cut off: a commit may have.
    Unknown,
}

/// What an error number of MySQL or MariaDB means.
struct Meaning {
    number: u16,
    kind: ErrorKind,
    effect: Effect,
}

fn meaning_of(number: u16) -> Option<&'static Meaning> {
    MEANINGS.iter().find(|meaning| meaning.number == number)
}

const fn refused(number: u16, kind: ErrorKind) -> Meaning {
    Meaning { number, kind, effect: Effect::None }
}

const fn ended(number: u16, kind: ErrorKind) -> Meaning {
    Meaning { number, kind, effect: Effect::Unknown }
}

/// Every error number that means more than "rejected".
const MEANINGS: &[Meaning] = &[
    refused(1020, ErrorKind::Busy),      // the record has changed since it was read (MariaDB)
    refused(1037, ErrorKind::Busy),      // the server is out of memory
    refused(1038, ErrorKind::Busy),      // the server is out of memory for sorting
    refused(1040, ErrorKind::Busy),      // the server has too many connections
    refused(1041, ErrorKind::Busy),      // the server is out of resources
    refused(1135, ErrorKind::Busy),      // the server cannot make a thread
    refused(1203, ErrorKind::Busy),      // the user has too many connections
    refused(1206, ErrorKind::Busy),      // the lock table is full
    refused(1213, ErrorKind::Busy),      // a deadlock
    refused(1226, ErrorKind::Busy),      // the account has used up what it may have
    refused(1412, ErrorKind::Busy),      // the table has changed since the transaction began
    refused(1615, ErrorKind::Busy),      // the statement must be prepared anew
    refused(3101, ErrorKind::Busy),      // the group of servers rolled the transaction back
    refused(1461, ErrorKind::Busy),      // the server has too many prepared statements
    refused(1637, ErrorKind::Busy),      // the server has too many transactions under way
    ended(1969, ErrorKind::Busy),        // the statement took too long (MariaDB)
    ended(3024, ErrorKind::Busy),        // the statement took too long (MySQL)
    refused(1205, ErrorKind::Locked),    // the wait for a lock took too long
    refused(1062, ErrorKind::Duplicate), // a row with this key exists
    refused(1586, ErrorKind::Duplicate), // the same, with the key's name
    refused(1036, ErrorKind::ReadOnly),  // the table can only be read
    refused(1223, ErrorKind::ReadOnly),  // somebody holds a global read lock
    refused(1290, ErrorKind::ReadOnly),  // the server runs with an option that forbids this, such as read_only
    refused(1792, ErrorKind::ReadOnly),  // the transaction can only read
    refused(1836, ErrorKind::ReadOnly),  // the server runs in read-only mode
    refused(1874, ErrorKind::ReadOnly),  // InnoDB runs in read-only mode
    ended(3100, ErrorKind::ReadOnly),    // the group of servers did not take the commit
    ended(3, ErrorKind::Full),           // a file could not be written
    ended(1021, ErrorKind::Full),        // the disk is full
    ended(1026, ErrorKind::Full),        // a file could not be written
    ended(STORAGE_ENGINE, ErrorKind::Full), // the storage engine failed, for want of room
    refused(1114, ErrorKind::Full),      // the table is full, as is the disk
    ended(1598, ErrorKind::Full),        // the binary log could not be written
    refused(1153, ErrorKind::TooLarge),  // the packet is larger than max_allowed_packet
    refused(1197, ErrorKind::TooLarge),  // the transaction is larger than the binary log's cache
    refused(1301, ErrorKind::TooLarge),  // a value is larger than max_allowed_packet
    refused(1044, ErrorKind::Away),      // the user may not use this database: someone is changing rights
    refused(1045, ErrorKind::Away),      // the password is refused, as while it is rotated
    refused(1049, ErrorKind::Away),      // no such database: not made yet
    ended(1053, ErrorKind::Away),        // the server shuts down
    refused(1129, ErrorKind::Away),      // the server has shut this host out
    refused(1130, ErrorKind::Away),      // the server lets nobody in from this host
    refused(1146, ErrorKind::Away),      // no such table: not migrated yet
    ended(1180, ErrorKind::Away),        // the commit failed
    ended(1158, ErrorKind::Away),        // a packet could not be read
    ended(1159, ErrorKind::Away),        // a packet was late
    ended(1160, ErrorKind::Away),        // a packet could not be written
    ended(1161, ErrorKind::Away),        // a packet was not written in time
    ended(1317, ErrorKind::Away),        // the query was interrupted
    refused(1698, ErrorKind::Away),      // the password is refused
    refused(1862, ErrorKind::Away),      // the password has expired
    ended(1927, ErrorKind::Away),        // the connection was killed (MariaDB)
    refused(3032, ErrorKind::Away),      // the server is in offline mode
    refused(3118, ErrorKind::Away),      // the account is locked
    refused(3159, ErrorKind::Away),      // the server wants TLS
    ended(3169, ErrorKind::Away),        // the session was killed
    ended(4031, ErrorKind::Away),        // the server closed an idle connection
    refused(4151, ErrorKind::Away),      // the account is locked (MariaDB)
];

/// The server, or this account, has as many connections as it may have.
pub(in crate::store) const TOO_MANY_CONNECTIONS: [u16; 3] = [1040, 1203, 1226];

/// The remedy for a failure to connect, for the log.
fn cure_of(error: &sqlx::Error) -> Option<&'static str> {
    // The driver has no error type for this.
    if error.to_string().contains("RSA auth backend") {
        return Some(
            "this account's plugin sends its password over TLS only: set ssl-mode=REQUIRED in DATABASE_URL, or \
             have the account use another plugin",
        );
    }
    Some(match number_of(error)? {
        1040 => "raise the server's max_connections, or lower DATABASE_MAX_CONNECTIONS",
        1129 => {
            "the server shuts a host out after max_connect_errors interrupted handshakes: run `truncate table \
             performance_schema.host_cache`, on MariaDB `flush hosts`, and raise max_connect_errors"
        }
        1130 => "the account is not one for this host: create it as 'user'@'%', or for this host's address",
        1203 | 1226 => {
            "raise what the account may have, such as max_user_connections, or lower DATABASE_MAX_CONNECTIONS"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_stands_in_the_table_once() {
        for (index, meaning) in MEANINGS.iter().enumerate() {
            assert!(MEANINGS[..index].iter().all(|before| before.number != meaning.number), "{}", meaning.number);
        }
    }

    #[test]
    fn an_error_tells_whether_it_passes_and_whether_the_call_may_have_had_an_effect() {
        let never_sent = Unconnected { kind: ErrorKind::Busy, why: "all are in use".to_owned() };
        let lost = io::Error::from(io::ErrorKind::ConnectionReset);
        let oversized = Oversized { bytes: 2, bytes_max: 1 };
        for (cause, kind, is_passing, had_no_effect) in [
            (sqlx::Error::from(never_sent), ErrorKind::Busy, true, true),
            (lost.into(), ErrorKind::Away, true, false),
            (oversized.into(), ErrorKind::TooLarge, false, false),
        ] {
            let error = StoreError::when("place orders")(cause);

            assert_eq!((error.kind(), error.is_passing(), error.had_no_effect()), (kind, is_passing, had_no_effect));
        }
    }
}
