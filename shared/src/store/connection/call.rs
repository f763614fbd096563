//! The ways to reach the database: calls, transactions, and what takes longer.

use std::io;
use std::time::{Duration, Instant};

use sqlx::{Connection, MySqlConnection};

use super::lane::Lane;
use super::session::{self, Long};
use crate::store::{Store, StoreError};

/// How long the answers to one call may take, beside the wait for a connection ([`Lane::wait_limit`]). A server that is
/// paused, or a network that drops what it should carry, never says no. Longer than the limits in the server
/// ([`session::PINNED`]), so that it is the server which gives up and says why; shorter would fail on a busy server,
/// longer would keep callers from their own deadlines.
pub(in crate::store) const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long a full count may take, which reads the whole table: a hundred million orders.
pub(in crate::store) const FULL_COUNT_LIMIT: Duration = Duration::from_mins(10);

/// A call that succeeded and took longer is worth a warning. One that failed is logged where that is handled.
const SLOW_AFTER: Duration = Duration::from_secs(1);

impl Store {
    /// Awaits what `work` does on a connection of the pool, for a bounded time; `doing` says what that is.
    ///
    /// The connection goes back only when the work succeeded. Whatever else happens, an error, a time-out, a caller that went
    /// away, closes it: the server rolls back, and nobody waits for the rest of its answer.
    pub(in crate::store) async fn call<T>(
        &self,
        doing: &'static str,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let limit = self.lane.wait_limit() + ANSWER_LIMIT;
        let done = Box::pin(self.long_call(doing, limit, self.on_connection(work))).await;
        let elapsed = started.elapsed();
        if done.is_ok() && elapsed > SLOW_AFTER {
            tracing::warn!(doing, ?elapsed, "the database was slow");
        }
        if self.writes.note(doing, done.as_ref().err()) {
            // Each connection may be one to a server that was demoted: there may be another one at the same address.
            self.pool.renew();
        }
        done
    }

    /// As [`Store::call`], in a transaction that is committed when the work succeeded.
    pub(in crate::store) async fn transaction<T>(
        &self,
        doing: &'static str,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        self.call(doing, async |connection| {
            let mut transaction = connection.begin().await?;
            let done = work(&mut transaction).await?;
            transaction.commit().await?;
            Ok(done)
        })
        .await
    }

    /// Part of a call: takes a connection, and gives it back when the work succeeded.
    pub(super) async fn on_connection<T>(
        &self,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut taken = self.pool.take(self.lane).await?;
        let done = work(taken.connection_mut()).await?;
        taken.give_back();
        Ok(done)
    }

    /// Awaits what takes longer than a call, and has a connection of its own.
    pub(in crate::store) async fn long_call<T>(
        &self,
        doing: &'static str,
        limit: Duration,
        call: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let late = || Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}")).into());
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| late()).map_err(StoreError::when(doing))
    }

    /// Awaits what reads all orders, on a connection of its own.
    pub(in crate::store) async fn full_count<T>(
        &self,
        doing: &'static str,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        self.long_call(doing, FULL_COUNT_LIMIT, async {
            let mut connection = self.long_connection(Long::FullCount).await?;
            let counted = work(&mut connection).await?;
            let _ = connection.close().await;
            Ok(counted)
        })
        .await
    }

    /// A connection of its own for what takes long by nature, which does not go back.
    pub(super) async fn long_connection(&self, long: Long) -> Result<MySqlConnection, sqlx::Error> {
        let mut connection = self.pool.take(self.lane).await?.detach();
        session::lengthen(&mut connection, long).await?;
        Ok(connection)
    }

    /// The same database, for requests of callers: they share few connections, wait for one for a short time, and never hold
    /// up what the program does by itself.
    #[must_use]
    pub fn for_callers(&self) -> Self {
        Self { lane: Lane::Callers, ..self.clone() }
    }

    /// The same database, for what the program reads once for all callers.
    #[must_use]
    pub fn for_watching(&self) -> Self {
        Self { lane: Lane::Watch, ..self.clone() }
    }
}
