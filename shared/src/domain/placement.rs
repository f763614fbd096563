use chrono::{DateTime, Utc};

use super::{IdempotencyKey, NewOrder, Order, OrderId, OrderStatus};

/// Orders that are placed together or not at all: those of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// At least one.
    pub orders: Vec<NewOrder>,
    /// What makes a second try of the request harmless, if its caller wants that.
    pub key: Option<KeyUse>,
}

impl Placement {
    /// Whether placing it depends on what was placed before.
    #[must_use]
    pub fn needs_lookup(&self) -> bool {
        self.key.is_some() || self.orders.iter().any(|order| order.external_id.is_some())
    }

    /// Whether any of the orders is due as soon as they are placed.
    #[must_use]
    pub fn is_any_due(&self, created_at: DateTime<Utc>) -> bool {
        self.orders.iter().any(|order| order.process_after.is_none_or(|at| at <= created_at))
    }
}

/// An idempotency key and what it was sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub key: IdempotencyKey,
    /// Tells one request from another.
    pub fingerprint: Fingerprint,
}

/// SHA-256 of an operation and of what its body means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// What became of a [`Placement`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Placed {
    /// The orders are on disk.
    New {
        /// When they were placed.
        created_at: DateTime<Utc>,
    },
    /// An earlier request with the same key and the same meaning placed these.
    Before {
        /// Their ids, in the order of the request.
        order_ids: Vec<OrderId>,
        /// When they were placed.
        created_at: DateTime<Utc>,
    },
    /// The key was sent before with something else. Nothing was placed.
    KeyReused,
    /// An order has the external id already. Nothing was placed.
    ExternalIdTaken {
        /// Which order of the placement wanted it.
        index: usize,
        /// The order that has it.
        order_id: OrderId,
    },
}

impl NewOrder {
    /// The order as it stands right after it was placed.
    #[must_use]
    pub fn placed(self, created_at: DateTime<Utc>) -> Order {
        let NewOrder { order_id, user_id, item_ids, total_amount, currency, external_id, metadata, process_after } =
            self;
        Order {
            order_id,
            user_id,
            item_ids,
            total_amount,
            currency,
            external_id,
            metadata,
            process_after,
            status: OrderStatus::Pending,
            attempt: 0,
            rescues: 0,
            last_error: None,
            worker_id: None,
            available_at: Some(process_after.map_or(created_at, |at| at.max(created_at))),
            claimed_at: None,
            completed_at: None,
            created_at,
            updated_at: created_at,
        }
    }
}
