//! What an order is and which rules it obeys. No I/O: this module knows no database and no HTTP.

mod amount;
mod attempt;
mod claim;
mod counts;
mod event;
mod ids;
mod order;
mod page;
mod queue;
mod rescue;
mod status;
mod why;

pub use amount::{Amount, AmountError};
pub use attempt::{FailedAttempt, RetryPolicy, Verdict};
pub use claim::{Claim, ClaimToken};
pub use counts::OrderCounts;
pub use event::{Event, EventKind};
pub(crate) use event::{StoredEvent, story};
pub use ids::{ItemIds, ItemIdsError, OrderId, UserId, WorkerId};
pub use order::{NewOrder, Order};
pub use page::{Page, PageKey};
pub use queue::{Heartbeat, LiveWorker, Queue, Registration};
pub(crate) use rescue::SUSPECT_FROM;
pub use rescue::{RESCUES_MAX, Share, Suspects, share};
pub use status::{OrderStatus, UnknownStatus};
pub use why::{Situation, Why};
