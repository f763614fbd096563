//! All SQL of the project. Each public function is one transaction; it takes and returns domain values, and fails with a
//! [`StoreError`] when the database is away; other reasons are named.
//!
//! Invariant: the rooms know only what stands before them: `sql`, `connection`, `orders`, `queue`, `doctor`.

mod connection;
mod doctor;
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
pub use queue::claim::{ClaimError, Claimed};
pub use queue::control::Change;
pub use queue::outcome::{Finished, Partly, Rescued, Settled};

use connection::{Lane, Pool, Writes};

/// Bytes of a message besides the text of its statement or its one large value, with room to spare.
const PACKET_OVERHEAD: usize = 4 << 10;

/// The orders database.
///
/// Cheap to clone: clones share one pool of connections. It connects when first used and again whenever a
/// connection was lost. Every call has a time limit.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
    lane: Lane,
    writes: Arc<Writes>,
    clock: Arc<queue::clock::Clock>,
    batches: Arc<queue::claims::Batches>,
}

impl Store {
    /// A store on this database. Opens no connection yet.
    ///
    /// # Panics
    ///
    /// Outside a runtime of tokio, which opens the connections, and closes those that nobody needs.
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

    /// Asks the database for an answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.call("reach the database", async |connection| connection.execute("select 1").await.map(drop)).await
    }

    /// Brings the schema to what this binary knows, the counts of orders to what a full count gives, and writes the claims
    /// that are missing: it reads the whole table. Several at once wait for one another. Fails too when the schema is newer,
    /// or a migration fails.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.migrate_schema().await?;
        // On the same connection, which the server would close, and the lock with it, if it were silent for long.
        if let Err(error) = self.correct_counts(&mut connection).await {
            // They are for reports, and no reason to keep the programs from their work.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the counts of orders may be wrong; run this again");
        }
        self.restore_claims(&mut connection).await
    }

    /// Bytes that one statement may have, so that the server accepts it.
    #[must_use]
    pub fn statement_bytes_max(&self) -> usize {
        self.pool.packet_bytes_max().saturating_sub(PACKET_OVERHEAD)
    }

    /// Closes every connection; those of calls under way when they come back.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
