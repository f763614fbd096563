use orders_shared::domain::{ExternalId, Fingerprint, IdempotencyKey, KeyUse, NewOrder};
use sha2::{Digest, Sha256};

/// A key with what it was sent with: the operation and the meaning of the body, so that spaces, the order of the fields and
/// the spelling of a number do not matter.
///
/// Releases of different age must agree on it while they run side by side: a field that is new changes nothing where it
/// is not used.
pub(crate) fn key_use(key: Option<IdempotencyKey>, operation: &str, orders: &[NewOrder]) -> Option<KeyUse> {
    let key = key?;
    let mut digest = Sha256::new();
    digest.update(operation);
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
