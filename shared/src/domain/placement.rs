use chrono::{DateTime, Utc};

use super::{IdempotencyKey, NewOrder, OneOrMore, Order, OrderId, OrderStatus};

/// Orders that are placed together or not at all: those of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The orders, in the order of the request.
    pub orders: OneOrMore<NewOrder>,
    /// Makes the request safe to repeat, if its client sent a key.
    pub key: Option<KeyUse>,
}

impl Placement {
    /// Whether placing it depends on orders that were placed earlier.
    #[must_use]
    pub fn needs_lookup(&self) -> bool {
        self.key.is_some() || self.orders.iter().any(|order| order.external_id.is_some())
    }

    /// Whether any of the orders is due as soon as it is placed.
    #[must_use]
    pub fn is_any_due(&self, created_at: DateTime<Utc>) -> bool {
        self.orders.iter().any(|order| order.process_after.is_none_or(|at| at <= created_at))
    }
}

/// An idempotency key and the fingerprint of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub key: IdempotencyKey,
    /// Tells whether a second request with the key is the same one.
    pub fingerprint: Fingerprint,
}

/// SHA-256 of an operation and of the meaning of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// What became of a [`Placement`].
pub type PlaceOutcome = Result<Placed, PlaceConflict>;

/// The orders of a [`Placement`] are on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Placed {
    /// This request placed them.
    New {
        /// When they were placed.
        created_at: DateTime<Utc>,
    },
    /// An earlier request with the same key and the same meaning placed them.
    Before {
        /// Their ids, in the order of the request.
        order_ids: OneOrMore<OrderId>,
        /// When they were placed.
        created_at: DateTime<Utc>,
    },
}

/// Why nothing of a [`Placement`] was placed: something placed earlier rules it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceConflict {
    /// An earlier request used the key with another meaning.
    #[error("the key was used for another request")]
    KeyReused,
    /// Another order has the external id.
    #[error("order {order_id} has the external id")]
    ExternalIdTaken {
        /// Which order of the placement wanted it.
        index: usize,
        /// The order that has it.
        order_id: OrderId,
    },
}

impl Placed {
    /// The orders of the request, each as it stood right after it was placed.
    #[must_use]
    pub fn orders(self, requested: OneOrMore<NewOrder>) -> OneOrMore<Order> {
        match self {
            Self::New { created_at } => requested.map(|order| order.placed(created_at)),
            Self::Before { order_ids, created_at } => {
                requested.zip(order_ids).map(|(order, order_id)| NewOrder { order_id, ..order }.placed(created_at))
            }
        }
    }
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
