//! The ways to reach the database: calls, transactions, and what takes longer.

use std::io;
use std::time::{Duration, Instant};

use sqlx::{Connection, MySqlConnection};

use super::lane::Lane;
use super::session::{self, Long};
use crate::store::{Store, StoreError};

/// How long the answers to one call may take, apart from the wait for a connection ([`Lane::wait_limit`]): a server
/// that is paused, or a network that drops packets, never reports an error. Longer than the limits in the server
/// ([`session::PINNED`]), so that the server gives up first and says why. Shorter would fail on a busy server, longer
/// would miss the callers' own deadlines.
pub(in crate::store) const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long a full count may take, which reads the whole table: enough for a hundred million orders.
pub(in crate::store) const FULL_COUNT_LIMIT: Duration = Duration::from_mins(10);

/// A call that succeeds but takes longer is worth a warning. A failed call is logged where the failure is handled.
const SLOW_AFTER: Duration = Duration::from_secs(1);

impl Store {
    /// Runs `work` on a connection of the pool, for a bounded time; `doing` names it in errors.
    ///
    /// The connection returns to the pool only if the work succeeds. An error, a timeout or a caller that goes away
    /// closes it: the server rolls back, and nobody waits for the rest of its answer.
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
            // All connections may lead to a server that was demoted, while its successor is at the same address by now.
            self.pool.renew();
        }
        done
    }

    /// As [`Store::call`], in a transaction that is committed if the work succeeds.
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

    /// Part of a call: takes a connection, and gives it back if the work succeeds.
    pub(super) async fn on_connection<T>(
        &self,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut taken = self.pool.take(self.lane).await?;
        let done = work(taken.connection_mut()).await?;
        taken.give_back();
        Ok(done)
    }

    /// Awaits `call`, which takes longer than others and has a connection of its own.
    pub(in crate::store) async fn long_call<T>(
        &self,
        doing: &'static str,
        limit: Duration,
        call: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let late = || Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}")).into());
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| late()).map_err(StoreError::when(doing))
    }

    /// Runs `work`, which reads all orders, on a connection of its own.
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

    /// A connection for work that takes long by nature. It does not return to the pool.
    pub(super) async fn long_connection(&self, long: Long) -> Result<MySqlConnection, sqlx::Error> {
        let mut connection = self.pool.take(self.lane).await?.detach();
        session::lengthen(&mut connection, long).await?;
        Ok(connection)
    }

    /// The same database, for callers' requests: they share a few connections, wait for one only briefly, and never
    /// hold up the program's own work.
    #[must_use]
    pub fn for_callers(&self) -> Self {
        Self { lane: Lane::Callers, ..self.clone() }
    }

    /// The same database, for reads that the program makes once for all callers.
    #[must_use]
    pub fn for_watching(&self) -> Self {
        Self { lane: Lane::Watch, ..self.clone() }
    }
}
