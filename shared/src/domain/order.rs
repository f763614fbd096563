use chrono::{DateTime, Utc};

use super::{Amount, Currency, ExternalId, ItemIds, Metadata, OrderId, OrderStatus, UserId, WorkerId};

/// An order to be placed: valid, with an id, but not stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// Its id, which it keeps.
    pub order_id: OrderId,
    /// The user who places it.
    pub user_id: UserId,
    /// The ordered items.
    pub item_ids: ItemIds,
    /// The price.
    pub total_amount: Amount,
    /// The currency of the price, if the client named one.
    pub currency: Option<Currency>,
    /// The client's own id of it, which no other order has.
    pub external_id: Option<ExternalId>,
    /// The client's own notes.
    pub metadata: Metadata,
    /// The earliest time at which a worker may claim it; `None` means at once.
    pub process_after: Option<DateTime<Utc>>,
}

impl NewOrder {
    /// Whether it has only the fields that every order must have.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        // Naming every field makes the compiler point here when one is added.
        let Self {
            order_id: _,
            user_id: _,
            item_ids: _,
            total_amount: _,
            currency,
            external_id,
            metadata,
            process_after,
        } = self;
        currency.is_none() && external_id.is_none() && metadata.pairs().is_empty() && process_after.is_none()
    }
}

/// An order as it is stored. All times are the database's, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its id.
    pub order_id: OrderId,
    /// The user who placed it.
    pub user_id: UserId,
    /// The ordered items.
    pub item_ids: ItemIds,
    /// The price.
    pub total_amount: Amount,
    /// The currency of the price, if the client named one.
    pub currency: Option<Currency>,
    /// The client's own id of it, which no other order has.
    pub external_id: Option<ExternalId>,
    /// The client's own notes.
    pub metadata: Metadata,
    /// The earliest time at which its client wants it processed.
    pub process_after: Option<DateTime<Utc>>,
    /// Its status.
    pub status: OrderStatus,
    /// While PROCESSING, the number of the current attempt; otherwise the number of attempts made.
    pub attempt: u16,
    /// How often it was taken back from a dead worker.
    pub rescues: u8,
    /// The error of the last failed attempt.
    pub last_error: Option<String>,
    /// The worker that claimed it last.
    pub worker_id: Option<WorkerId>,
    /// When a worker may claim it; `None` unless it is PENDING.
    pub available_at: Option<DateTime<Utc>>,
    /// When it was last claimed.
    pub claimed_at: Option<DateTime<Utc>>,
    /// When it was completed.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// When its status last changed.
    pub updated_at: DateTime<Utc>,
}
