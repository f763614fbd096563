//! All SQL of the project. Each public function is one transaction; it takes and returns domain values.

mod bells;
mod claim;
mod claims;
mod complete;
mod connect;
mod control;
mod counts;
mod doctor;
mod ended;
mod error;
mod events;
mod external_ids;
mod held;
mod keys;
mod leave;
mod line;
mod list;
mod place;
mod probe;
mod queue;
mod row;
mod schema;
mod script;
mod workers;

#[cfg(feature = "bench")]
pub use place::bench;

pub use claim::{ClaimError, Claimed};
pub use complete::{Finished, Partly};
pub use connect::StoreSettings;
pub use control::Wish;
pub use doctor::{Finding, Verdict};
pub use error::StoreError;
pub use keys::PRUNE_MAX;
pub use leave::{Rescued, Settled};
pub use place::weight_bytes;
pub use schema::SchemaState;

/// The orders database.
///
/// Cheap to clone: clones share one pool of connections. It connects when first used and again whenever a
/// connection was lost. Every call has a time limit.
#[derive(Clone, Debug)]
pub struct Store {
    pool: deadpool::managed::Pool<connect::Connections>,
    acquire_timeout: std::time::Duration,
    batches: std::sync::Arc<claims::Batches>,
}
