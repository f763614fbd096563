//! Idempotency keys: stored in the transaction of their orders, and pruned when they are old.
//!
//! A client that never saw its answer cannot know whether its orders stand, and sends the request again with its key.
//! The answer comes from the key's row, with the orders as they were placed, whatever became of them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::MySqlConnection;
use uuid::Uuid;

use crate::domain::{
    Fingerprint, IdempotencyKey, KeyUse, OneOrMore, OrderId, PlaceConflict, PlaceOutcome, Placed, Placement,
};
use crate::store::hot::Hot;
use crate::store::sql::{Value, insert_sorted};

/// The most keys that one commit prunes: few enough to hold nobody up.
pub const PRUNE_MAX: u32 = 500;

/// Reads the keys of a batch that were used before, and when the orders of their first use were placed.
const KNOWN_KEYS: &str = r"
    select
        idempotency_keys.key_hash,
        idempotency_keys.fingerprint,
        idempotency_keys.order_ids,
        coalesce(orders.created_at, idempotency_keys.created_at) as created_at
    from (
        select unhex(key_hash) as key_hash
        from json_table(?, '$[*]' columns (key_hash char(64) path '$')) as hashes
    ) as listed
    straight_join idempotency_keys force index (primary) on idempotency_keys.key_hash = listed.key_hash
    left join orders on orders.order_id = left(idempotency_keys.order_ids, 16)
";

const INSERT: &str = r"
    insert into idempotency_keys (key_hash, fingerprint, order_ids)
    select unhex(used.key_hash), unhex(used.fingerprint), unhex(used.order_ids)
    from json_table(?, '$[*]' columns (
        key_hash char(64) path '$[0]' error on error,
        fingerprint char(64) path '$[1]' error on error,
        order_ids longtext path '$[2]' error on error
    )) as used
";

/// Callers are told 24 hours; the additional hour allows for their clocks and for requests under way.
const PRUNE: &str = r"
    delete from idempotency_keys
    where created_at < now(6) - interval 25 hour
    order by created_at
    limit ?
";

pub(in crate::store) fn hot_statements() -> Vec<Hot> {
    let by_age = ("idempotency_keys", "idempotency_keys_by_age", &["range"] as &[_]);
    vec![
        Hot::of_batch("find idempotency keys", KNOWN_KEYS, "idempotency_keys"),
        Hot::new("prune idempotency keys", PRUNE, vec![Value::Number(PRUNE_MAX.into())], by_age),
    ]
}

/// The result of a placement in its batch.
pub(super) enum PlaceResult {
    /// The batch places it.
    New,
    /// It repeats a request of the same batch, which places these orders.
    SameBatch(OneOrMore<OrderId>),
    /// The result was known before.
    Known(PlaceOutcome),
}

/// Deletes up to [`PRUNE_MAX`] keys that are older than 25 hours, oldest first, and returns how many.
pub(in crate::store) async fn prune(connection: &mut MySqlConnection) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(PRUNE).bind(PRUNE_MAX).execute(connection).await?.rows_affected())
}

type Hash = [u8; 32];

/// Hash, fingerprint and order ids of a key, and when it was first used.
type KeyRow = (Vec<u8>, Vec<u8>, Vec<u8>, DateTime<Utc>);

/// Keys in use, including those of this batch.
pub(super) struct KnownKeys(HashMap<Hash, Known>);

/// The request that a key was first sent with.
struct Known {
    fingerprint: Fingerprint,
    order_ids: OneOrMore<OrderId>,
    /// `None` if it is in this batch.
    created_at: Option<DateTime<Utc>>,
}

impl KnownKeys {
    /// The result of an earlier request with this key, if there was one.
    pub(super) fn find(&self, key_use: &KeyUse, own: OrderId) -> Option<PlaceResult> {
        let Known { fingerprint, order_ids, created_at } = self.0.get(&hash(&key_use.key))?;
        Some(match *created_at {
            _ if *fingerprint != key_use.fingerprint => PlaceResult::Known(Err(PlaceConflict::KeyReused)),
            Some(created_at) if *order_ids.first() == own => PlaceResult::Known(Ok(Placed::New { created_at })),
            Some(created_at) => PlaceResult::Known(Ok(Placed::Before { order_ids: order_ids.clone(), created_at })),
            None => PlaceResult::SameBatch(order_ids.clone()),
        })
    }

    pub(super) fn add(&mut self, key_use: &KeyUse, placement: &Placement) {
        let order_ids = placement.orders.each(|order| order.order_id);
        let known = Known { fingerprint: key_use.fingerprint, order_ids, created_at: None };
        self.0.insert(hash(&key_use.key), known);
    }
}

/// The keys of these placements that were used before.
pub(super) async fn known(
    connection: &mut MySqlConnection,
    placements: &[Placement],
) -> Result<KnownKeys, sqlx::Error> {
    let hashes: Vec<_> = key_uses(placements.iter()).map(|(key_use, _)| hex::encode(hash(&key_use.key))).collect();
    if hashes.is_empty() {
        return Ok(KnownKeys(HashMap::new()));
    }
    let rows: Vec<KeyRow> =
        sqlx::query_as(KNOWN_KEYS).bind(serde_json::json!(hashes).to_string()).fetch_all(connection).await?;
    // A row that this store did not write may not be a key.
    let parts = rows.into_iter().filter_map(|(hash, fingerprint, order_ids, created_at)| {
        let fingerprint = Fingerprint(fingerprint.try_into().ok()?);
        let order_ids = order_ids.chunks(16).map(|id| Uuid::from_slice(id).map(OrderId::from));
        let order_ids = OneOrMore::of(order_ids.collect::<Result<_, _>>().ok()?)?;
        Some((hash.try_into().ok()?, Known { fingerprint, order_ids, created_at: Some(created_at) }))
    });
    Ok(KnownKeys(parts.collect()))
}

/// Writes the keys of these placements.
pub(super) async fn insert<'a>(
    connection: &mut MySqlConnection,
    placements: impl Iterator<Item = &'a Placement>,
) -> Result<(), sqlx::Error> {
    let rows = key_uses(placements).map(|(key_use, placement)| {
        let order_ids = placement.orders.iter().map(|order| order.order_id.uuid().simple().to_string());
        [hex::encode(hash(&key_use.key)), hex::encode(key_use.fingerprint.0), order_ids.collect()]
    });
    insert_sorted(connection, INSERT, rows.collect()).await
}

fn key_uses<'a>(placements: impl Iterator<Item = &'a Placement>) -> impl Iterator<Item = (&'a KeyUse, &'a Placement)> {
    placements.filter_map(|placement| placement.key.as_ref().map(|key_use| (key_use, placement)))
}

fn hash(key: &IdempotencyKey) -> Hash {
    Sha256::digest(key.as_str()).into()
}
