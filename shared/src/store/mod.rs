//! All SQL of the project. Each public function is one transaction; it takes and returns domain values.

mod claim;
mod connect;
mod counts;
mod error;
mod finish;
mod list;
mod place;
mod row;
mod schema;

pub use connect::StoreSettings;
pub use error::StoreError;
pub use finish::Finished;
pub use schema::SchemaState;

/// The orders database.
///
/// Cheap to clone: clones share one pool of connections. It connects when first used and again whenever a
/// connection was lost.
#[derive(Clone, Debug)]
pub struct Store {
    pool: sqlx::MySqlPool,
}
