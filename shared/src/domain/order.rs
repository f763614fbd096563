use chrono::{DateTime, Utc};

use super::{Amount, ItemIds, OrderId, OrderStatus, UserId};

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
    /// Where it stands.
    pub status: OrderStatus,
    /// How many times it has been claimed.
    pub attempt: u16,
    /// When a worker may claim it; only while PENDING.
    pub due_at: Option<DateTime<Utc>>,
    /// When it was last claimed.
    pub claimed_at: Option<DateTime<Utc>>,
    /// When it was completed.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// When its status last changed.
    pub updated_at: DateTime<Utc>,
}
