//! What an order is and which rules it obeys. No I/O: this module knows no database and no HTTP.

mod amount;
mod claim;
mod counts;
mod ids;
mod order;
mod page;
mod status;

pub use amount::{Amount, AmountError};
pub use claim::{Claim, ClaimToken};
pub use counts::OrderCounts;
pub use ids::{ItemIds, ItemIdsError, OrderId, UserId};
pub use order::{NewOrder, Order};
pub use page::{Page, PageKey};
pub use status::{OrderStatus, UnknownStatus};
