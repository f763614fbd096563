use uuid::Uuid;

use super::{Order, OrderId};

/// Names one batch of claims. Whatever changes a claimed order must name it, so that a worker that lost its claim
/// changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimToken(Uuid);

impl ClaimToken {
    /// A token that no batch ever had.
    pub(crate) fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    pub(crate) fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for ClaimToken {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

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
