//! All SQL of the project. Each public function is one transaction; it takes and returns domain values.

mod claim;
mod claims;
mod clock;
mod complete;
mod connection;
mod control;
mod counts;
mod doctor;
mod ended;
mod events;
mod external_ids;
mod held;
mod keys;
mod leave;
mod list;
mod page;
mod page_sql;
mod place;
mod queue;
mod row;
mod script;
mod wakeup;
mod workers;

use std::sync::Arc;

use sqlx::Executor;

pub use claim::{ClaimError, Claimed};
pub use complete::{Finished, Partly};
pub use connection::{ErrorKind, SchemaState, StoreError, StoreSettings};
pub use control::Change;
pub use doctor::{Finding, Severity};
pub use keys::PRUNE_MAX;
pub use leave::{Rescued, Settled};
pub use page::{ORDER_BYTES_MAX, PAGE_BYTES_MAX};
pub use place::weight_bytes;

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
    clock: Arc<clock::Clock>,
    batches: Arc<claims::Batches>,
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
    ///
    /// # Errors
    ///
    /// When it gives none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.call("reach the database", async {
            let mut line = self.line().await?;
            line.execute("select 1").await?;
            line.done();
            Ok(())
        })
        .await
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
