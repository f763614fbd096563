use std::io;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use sqlx::MySqlConnection;

use super::lane::Lane;
use super::pool::Taken;
use super::session::{self, Long};
use crate::store::{Store, StoreError};

/// How long the answers to one call may take, beside the wait for a connection ([`Lane::patience`]). A server that is
/// paused, or a network that drops what it should carry, never says no. Longer than the limits in the server
/// ([`session::PINNED`]), so that it is the server which gives up and says why; shorter would fail on a busy server,
/// longer would keep callers from their own deadlines.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A call that succeeded and took longer is worth a warning. One that failed is told of by whoever handles that.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// A connection out of the pool, for one call.
///
/// It goes back only when the call came to its end ([`Line::done`]). Whatever else happens, an error, a time-out, a
/// caller that went away, closes it: the server rolls back, and nobody waits for the rest of its answer.
#[derive(Debug)]
pub(in crate::store) struct Line(Taken);

impl Store {
    pub(in crate::store) async fn line(&self) -> Result<Line, sqlx::Error> {
        Ok(Line(self.pool.take(self.lane).await?))
    }

    /// A connection of its own for what takes long by nature, which does not go back.
    pub(in crate::store) async fn long_connection(&self, long: Long) -> Result<MySqlConnection, sqlx::Error> {
        let mut connection = self.line().await?.0.detach();
        session::lengthen(&mut connection, long).await?;
        Ok(connection)
    }

    /// The same database, for what callers ask for: it shares few connections, waits for one for a short time, and never
    /// holds up what the program does by itself.
    #[must_use]
    pub fn for_callers(&self) -> Self {
        Self { lane: Lane::Callers, ..self.clone() }
    }

    /// The same database, for what the program reads once for all who asked.
    #[must_use]
    pub fn for_watching(&self) -> Self {
        Self { lane: Lane::Watch, ..self.clone() }
    }

    /// Awaits one call, which is `doing` something, for a bounded time.
    pub(in crate::store) async fn call<T>(
        &self,
        doing: &'static str,
        call: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let done = Box::pin(self.long_call(doing, self.lane.patience() + ANSWER_LIMIT, call)).await;
        let elapsed = started.elapsed();
        match &done {
            Ok(_) if elapsed > SLOW_AFTER => tracing::warn!(doing, ?elapsed, "the database was slow"),
            _ => {}
        }
        if self.writes.note(doing, done.as_ref().err()) {
            // Each connection may be one to a server that was demoted: there may be another one at the same address.
            self.pool.renew();
        }
        done
    }

    /// As [`Store::call`], for what takes longer.
    pub(in crate::store) async fn long_call<T>(
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
    pub(in crate::store) fn done(self) {
        self.0.give_back();
    }
}

impl Deref for Line {
    type Target = MySqlConnection;

    fn deref(&self) -> &MySqlConnection {
        self.0.connection()
    }
}

impl DerefMut for Line {
    fn deref_mut(&mut self) -> &mut MySqlConnection {
        self.0.connection_mut()
    }
}
