//! The connections to the database: how they are opened, configured and shared, and what their failures mean.

mod call;
mod connections;
mod error;
mod lane;
mod open;
mod pool;
mod schema;
mod session;
mod settings;
mod skip_locked;
mod writes;

pub(super) use self::call::{ANSWER_LIMIT, FULL_COUNT_LIMIT};
pub(super) use self::error::number_of;
pub use self::error::{ErrorKind, StoreError};
pub(super) use self::lane::Lane;
pub(super) use self::pool::Pool;
pub use self::schema::SchemaState;
pub(super) use self::session::{PINNED, Pinned, is_as_pinned};
pub use self::settings::StoreSettings;
pub(super) use self::settings::Tls;
pub(super) use self::writes::Writes;
