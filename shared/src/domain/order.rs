use chrono::{DateTime, Utc};

use super::{Amount, Currency, ExternalId, ItemIds, Metadata, OrderId, OrderStatus, UserId, WorkerId};

/// An order that somebody wants to place: valid, with its identity, not yet stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// Its identity from now on.
    pub order_id: OrderId,
    /// Who placed it.
    pub user_id: UserId,
    /// What was ordered.
    pub item_ids: ItemIds,
    /// What it costs.
    pub total_amount: Amount,
    /// In which currency, if its caller said so.
    pub currency: Option<Currency>,
    /// The caller's own number of it, which no other order has.
    pub external_id: Option<ExternalId>,
    /// The caller's own notes.
    pub metadata: Metadata,
    /// When a worker may claim it at the earliest; at once if `None`.
    pub process_after: Option<DateTime<Utc>>,
}

impl NewOrder {
    /// Whether it has nothing but what every order must have.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        // Every field is named, so that a new one is thought of.
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
    /// Its identity.
    pub order_id: OrderId,
    /// Who placed it.
    pub user_id: UserId,
    /// What was ordered.
    pub item_ids: ItemIds,
    /// What it costs.
    pub total_amount: Amount,
    /// In which currency, if its caller said so.
    pub currency: Option<Currency>,
    /// The caller's own number of it, which no other order has.
    pub external_id: Option<ExternalId>,
    /// The caller's own notes.
    pub metadata: Metadata,
    /// When its client wants it processed at the earliest.
    pub process_after: Option<DateTime<Utc>>,
    /// Where it stands.
    pub status: OrderStatus,
    /// The attempt under way while PROCESSING, otherwise the attempts used.
    pub attempt: u16,
    /// How often it was taken back from a dead worker.
    pub rescues: u8,
    /// Why the last attempt that failed did so.
    pub last_error: Option<String>,
    /// The worker that claimed it last.
    pub worker_id: Option<WorkerId>,
    /// When a worker may claim it; only while PENDING.
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
