use orders_shared::domain::{ExternalId, Fingerprint, IdempotencyKey, KeyUse, NewOrder, OneOrMore};
use sha2::{Digest, Sha256};

/// An operation that places orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlaceOperation {
    CreateOrder,
    PlaceOrder,
    PlaceOrders,
}

impl PlaceOperation {
    /// Its name in fingerprints. Stored keys were made with it, so it must never change.
    fn name(self) -> &'static str {
        match self {
            Self::CreateOrder => "create_order",
            Self::PlaceOrder => "place_order",
            Self::PlaceOrders => "place_orders",
        }
    }

    /// Where its body has the external id of the order at `index` (RFC 6901).
    pub(super) fn external_id_pointer(self, index: usize) -> String {
        match self {
            Self::CreateOrder | Self::PlaceOrder => "/external_id".to_owned(),
            Self::PlaceOrders => format!("/orders/{index}/external_id"),
        }
    }
}

/// A key with the fingerprint of its request: a digest of the operation and of the body's meaning, so that whitespace,
/// the order of the fields and the notation of a number make no difference.
///
/// Old and new releases that run side by side must compute the same fingerprint, so a new field must not change it
/// where the field is not used.
pub(crate) fn key_use(
    key: Option<IdempotencyKey>,
    operation: PlaceOperation,
    orders: &OneOrMore<NewOrder>,
) -> Option<KeyUse> {
    let key = key?;
    let mut digest = Sha256::new();
    digest.update(operation.name());
    for order in orders {
        digest.update(meaning(order));
    }
    Some(KeyUse { key, fingerprint: Fingerprint(digest.finalize().into()) })
}

fn meaning(order: &NewOrder) -> String {
    let NewOrder { order_id: _, user_id, item_ids, total_amount, currency, external_id, metadata, process_after } =
        order;
    serde_json::json!([
        user_id.get(),
        item_ids.as_slice(),
        total_amount.to_string(),
        currency.map(|currency| currency.to_string()),
        external_id.as_ref().map(ExternalId::as_str),
        metadata.pairs(),
        process_after.map(|at| at.timestamp_micros()),
    ])
    .to_string()
}
