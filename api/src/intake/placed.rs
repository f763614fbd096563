use orders_shared::domain::{NewOrder, OneOrMore, Order, Placed};

/// The orders of a request, on disk, each as it stood right after it was placed. An answer of 201 is made of nothing
/// else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlacedOrders {
    pub(crate) orders: OneOrMore<Order>,
    pub(crate) placed_by: PlacedBy,
}

/// Which request placed the orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlacedBy {
    /// The one that is being answered.
    ThisRequest,
    /// An earlier one with the same key and body.
    EarlierRequest,
}

impl PlacedOrders {
    pub(super) fn new(placed: Placed, requested: OneOrMore<NewOrder>) -> Self {
        let placed_by = match placed {
            Placed::New { .. } => PlacedBy::ThisRequest,
            Placed::Before { .. } => PlacedBy::EarlierRequest,
        };
        Self { orders: placed.orders(requested), placed_by }
    }
}

impl PlacedBy {
    /// The value of the header `Idempotent-Replayed`.
    pub(crate) fn replayed(self) -> Option<bool> {
        match self {
            Self::ThisRequest => None,
            Self::EarlierRequest => Some(true),
        }
    }
}
