use super::{ClaimToken, Order, OrderId};

/// The right to finish one claimed order, and the duty: it is completed, failed or released, once.
///
/// Only the store makes one, and its ways out of PROCESSING take it by value.
#[derive(Debug)]
#[must_use = "a claimed order must be completed, failed or released"]
pub struct Claim {
    order: Order,
    token: ClaimToken,
}

impl Claim {
    pub(crate) fn new(order: Order, token: ClaimToken) -> Self {
        Self { order, token }
    }

    /// The order, as it stands since the claim.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Its identity.
    #[must_use]
    pub fn order_id(&self) -> OrderId {
        self.order.order_id
    }

    /// The batch that it was claimed in.
    #[must_use]
    pub fn token(&self) -> ClaimToken {
        self.token
    }
}
