use std::io;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use deadpool::managed::Object;
use sqlx::MySqlConnection;

use super::connect::Connections;
use super::{Store, StoreError};

/// How long one call may take, its wait for a connection included. A server that is paused, or a network that drops
/// what it should carry, never says no. Shorter would fail on a busy server, longer would keep callers from their own
/// deadlines.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// A call that succeeded and took longer is worth a warning. One that failed is told of by whoever handles that.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// A connection out of the pool, for one call.
///
/// It goes back only when the call came to its end ([`Line::done`]). Whatever else happens, an error, a time-out, a
/// caller that went away, closes it: the server rolls back, and nobody waits for the rest of its answer.
#[derive(Debug)]
pub(super) struct Line(Option<Object<Connections>>);

impl Store {
    pub(super) async fn line(&self) -> Result<Line, sqlx::Error> {
        Ok(Line(Some(self.connection().await?)))
    }

    /// Awaits one call, which is `doing` something, for a bounded time.
    pub(super) async fn call<T>(
        &self,
        doing: &'static str,
        call: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let done = Box::pin(self.long_call(doing, CALL_LIMIT, call)).await;
        let elapsed = started.elapsed();
        if done.is_ok() && elapsed > SLOW_AFTER {
            tracing::warn!(doing, ?elapsed, "the database was slow");
        }
        done
    }

    /// As [`Store::call`], for what takes longer.
    pub(super) async fn long_call<T>(
        &self,
        doing: &'static str,
        limit: Duration,
        call: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let late = || Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}")).into());
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| late()).map_err(StoreError::when(doing))
    }
}

impl Line {
    /// Gives the connection back, fit for the next call.
    pub(super) fn done(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Out of the pool it has no owner, and is closed without a word to a server that may not listen.
        drop(self.0.take().map(Object::take));
    }
}

impl Deref for Line {
    type Target = MySqlConnection;

    fn deref(&self) -> &MySqlConnection {
        match &self.0 {
            Some(connection) => connection,
            None => unreachable!("only `done` and `drop` take it, and both end the line"),
        }
    }
}

impl DerefMut for Line {
    fn deref_mut(&mut self) -> &mut MySqlConnection {
        match &mut self.0 {
            Some(connection) => connection,
            None => unreachable!("only `done` and `drop` take it, and both end the line"),
        }
    }
}
