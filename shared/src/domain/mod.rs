//! What an order is and which rules it obeys. No I/O: this module knows no database and no HTTP.

mod amount;
mod claim;
mod currency;
mod event;
mod idempotency_key;
mod ids;
mod labels;
mod one_or_more;
mod order;
mod outcome;
mod page;
mod placement;
mod queue;
mod status;
mod why;

pub use amount::{Amount, AmountError};
pub(crate) use claim::SUSPECT_FROM;
pub use claim::{
    Claim, GIVE_UP_AFTER, NextStep, PAUSE_MAX, Pauses, RESCUES_MAX, RetryPolicy, Share, Suspects, Wait, share,
};
pub use currency::{Currency, NotACurrency};
pub(crate) use event::{Course, StoredEvent, Story};
pub use event::{Event, EventKind, StoryKey, StoryPage, StoryPart};
pub use idempotency_key::{IdempotencyKey, NotAnIdempotencyKey};
pub use ids::{ClaimToken, ItemIds, ItemIdsError, OrderId, UserId, WorkerId};
pub use labels::{ExternalId, ExternalIdError, Metadata, MetadataError};
pub use one_or_more::OneOrMore;
pub use order::{NewOrder, Order};
pub use outcome::{
    Completion, Done, ErrorClass, HttpAnswer, NotDone, OrderResult, OrderResultError, Outcome, UnfinishedAttempt,
    WorkError, with_causes,
};
pub use page::{ListedOrder, OrderFilter, Page, PageKey};
pub use placement::{Fingerprint, KeyUse, PlaceConflict, PlaceOutcome, Placed, Placement};
pub use queue::{
    Breaker, BreakerState, Heartbeat, LiveWorker, OrderCounts, ProcessorKind, Queue, Registration, UnknownName,
};
pub(crate) use status::status_name;
pub use status::{OrderStatus, UnknownStatus};
pub use why::{Situation, Why};
