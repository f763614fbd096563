//! Whether the server accepts writes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::{Executor, MySqlConnection};
use tokio::time::Instant;

use super::error::{ErrorKind, StoreError};
use crate::store::Store;

/// How long a failed write counts. A process that is not ready gets no writes, so with a longer time it would never
/// learn that there is room again.
const REMEMBERED_FOR: Duration = Duration::from_secs(10);

/// How often all connections are closed at most: a read-only server rejects every write.
const RENEWED_EVERY: Duration = Duration::from_secs(1);

/// Writes no row, but the server checks its read-only mode, its locks and the user's privileges all the same.
const WRITE_NOTHING: &str = "update orders set updated_at = now(6) where false";

/// The failures of the latest writes.
#[derive(Debug, Default)]
pub(in crate::store) struct Writes(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    failed: Option<Failed>,
    renewed_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    doing: &'static str,
    kind: ErrorKind,
    at: Instant,
}

impl Writes {
    /// Notes how a call ended. True if our connections should be renewed, as they lead to a read-only server.
    pub(super) fn note(&self, doing: &'static str, error: Option<&StoreError>) -> bool {
        let (mut noted, at) = (self.noted(), Instant::now());
        match error.map(StoreError::kind) {
            Some(kind @ (ErrorKind::ReadOnly | ErrorKind::Full)) => {
                noted.failed = Some(Failed { doing, kind, at });
                let is_due = noted.renewed_at.is_none_or(|renewed_at| at - renewed_at >= RENEWED_EVERY);
                let renews = kind == ErrorKind::ReadOnly && is_due;
                if renews {
                    noted.renewed_at = Some(at);
                }
                renews
            }
            Some(_) => false,
            None => {
                // Other calls may only read: they prove nothing.
                noted.failed.take_if(|failed| failed.doing == doing);
                false
            }
        }
    }

    fn last_failure(&self) -> Option<ErrorKind> {
        self.noted().failed.filter(|failed| failed.at.elapsed() < REMEMBERED_FOR).map(|failed| failed.kind)
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Why the server would not accept a write now; `None` if it would, as far as one can tell without writing.
    pub async fn write_obstacle(&self) -> Result<Option<&'static str>, StoreError> {
        let nothing = async |connection: &mut MySqlConnection| connection.execute(WRITE_NOTHING).await.map(drop);
        let tried = self.call("see whether writes go through", nothing).await;
        Ok(match tried {
            Ok(()) => match self.writes.last_failure() {
                Some(ErrorKind::Full) => Some("the database has no room left to write to"),
                _ => None,
            },
            Err(error) => match error.kind() {
                ErrorKind::ReadOnly => Some("the database takes no writes: it is read-only"),
                ErrorKind::Locked => Some("the table of orders is locked"),
                ErrorKind::Rejected => Some("the database refuses writes to the table of orders"),
                _ => return Err(error),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> StoreError {
        StoreError::when("")(super::super::error::Unconnected { kind: ErrorKind::Full, why: String::new() }.into())
    }

    #[test]
    fn a_write_that_failed_for_want_of_room_is_remembered_until_the_same_write_succeeds() {
        let writes = Writes::default();

        assert!(!writes.note("place orders", Some(&full())), "the server is one to write to");
        assert_eq!(writes.last_failure(), Some(ErrorKind::Full));
        writes.note("list orders", None);
        assert_eq!(writes.last_failure(), Some(ErrorKind::Full), "a read tells nothing");

        writes.note("place orders", None);
        assert_eq!(writes.last_failure(), None);
    }
}
