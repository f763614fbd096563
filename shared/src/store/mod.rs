//! All SQL of the project. Each public function is one transaction. It takes and returns domain values, and fails with
//! a [`StoreError`] if the database is away; it names other reasons.
//!
//! Invariant: each module knows only those before it: `sql`, `hot`, `connection`, `orders`, `queue`, `doctor`.

mod connection;
mod doctor;
mod hot;
mod orders;
mod queue;
mod sql;

use std::sync::Arc;

use sqlx::Executor;

pub use connection::{ErrorKind, SchemaState, StoreError, StoreSettings};
pub use doctor::{Finding, Severity};
pub use orders::keys::PRUNE_MAX;
pub use orders::page::{ORDER_BYTES_MAX, PAGE_BYTES_MAX};
pub use orders::place::weight_bytes;
pub use queue::claim::Claimed;
pub use queue::control::Change;
pub use queue::outcome::{BatchError, Settled};

use connection::{Lane, Pool, Writes};

/// Bytes of a message apart from the text of its statement or its one large value, with room to spare.
const PACKET_OVERHEAD: usize = 4 << 10;

/// The orders database.
///
/// Cheap to clone: clones share one pool of connections. It connects on first use, and again whenever a connection is
/// lost. Every call has a time limit.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
    lane: Lane,
    writes: Arc<Writes>,
    clock: Arc<queue::clock::Clock>,
    batches: Arc<queue::claims::Batches>,
}

impl Store {
    /// A store in this database. Opens no connection yet.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, which opens the connections, and closes those that nobody needs.
    #[must_use]
    pub fn new(settings: StoreSettings) -> Self {
        Self {
            pool: Pool::new(settings),
            lane: Lane::Work,
            writes: Arc::default(),
            clock: Arc::default(),
            batches: Arc::default(),
        }
    }

    /// Checks that the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.call("reach the database", async |connection| connection.execute("select 1").await.map(drop)).await
    }

    /// Migrates the schema to the version of this binary, corrects the counts of orders by a full count, and writes
    /// claims that are missing; so it reads the whole table. Only one process does so at a time; others wait. Also
    /// fails if the schema is newer, or a migration fails.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.migrate_schema().await?;
        // On the same connection: if it were silent for long, the server would close it and release its lock.
        if let Err(error) = self.correct_counts(&mut connection).await {
            // Only reports need them, so the programs may start all the same.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the counts of orders may be wrong; run this again");
        }
        self.restore_claims(&mut connection).await
    }

    /// The most bytes of a statement that the server accepts.
    #[must_use]
    pub fn statement_bytes_max(&self) -> usize {
        self.pool.packet_bytes_max().saturating_sub(PACKET_OVERHEAD)
    }

    /// Closes every connection, those in use when their calls end.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
