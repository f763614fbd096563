//! Idempotency keys: written beside their orders, pruned when they are old.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::MySqlConnection;
use uuid::Uuid;

use crate::domain::{Fingerprint, IdempotencyKey, KeyUse, OrderId, Placed, Placement};
use crate::store::{Store, StoreError};

/// Keys that one statement prunes at most: few enough to hold nobody up.
pub const PRUNE_MAX: u32 = 1_000;

/// The keys of a batch that were used before, and when their first orders were placed.
pub(in crate::store) const USED: &str = r"
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

/// 24 hours is what callers are told; the hour more is for their clocks and for requests under way.
pub(in crate::store) const PRUNE: &str = r"
    delete from idempotency_keys
    where created_at < now(6) - interval 25 hour
    order by created_at
    limit ?
";

/// What becomes of a placement in its batch.
pub(in crate::store) enum Outcome {
    /// It is placed by the batch.
    New,
    /// It is an equal request of the batch that places these orders.
    Twin(Vec<OrderId>),
    /// This was clear before.
    Known(Placed),
}

impl Store {
    /// Deletes up to [`PRUNE_MAX`] keys that are older than 25 hours, the oldest first, and returns how many.
    pub async fn prune_idempotency_keys(&self) -> Result<u64, StoreError> {
        self.call("prune idempotency keys", async |connection| {
            let pruned = sqlx::query(PRUNE).bind(PRUNE_MAX).execute(&mut *connection).await?.rows_affected();
            Ok(pruned)
        })
        .await
    }
}

type Hash = [u8; 32];

/// Keys in use, those of the batch at hand included.
pub(in crate::store) struct Used(HashMap<Hash, Before>);

struct Before {
    fingerprint: Fingerprint,
    order_ids: Vec<OrderId>,
    /// `None` for an order of the batch at hand.
    created_at: Option<DateTime<Utc>>,
}

impl Used {
    /// What became of an earlier request with this key; `None` when there was none.
    pub(in crate::store) fn of(&self, key_use: &KeyUse, own: OrderId) -> Option<Outcome> {
        let before = self.0.get(&hash(&key_use.key))?;
        if before.fingerprint != key_use.fingerprint {
            return Some(Outcome::Known(Placed::KeyReused));
        }
        Some(match before.created_at {
            Some(created_at) if before.order_ids.first() == Some(&own) => Outcome::Known(Placed::New { created_at }),
            Some(created_at) => Outcome::Known(Placed::Before { order_ids: before.order_ids.clone(), created_at }),
            None => Outcome::Twin(before.order_ids.clone()),
        })
    }

    /// The key is used now.
    pub(in crate::store) fn add(&mut self, key_use: &KeyUse, placement: &Placement) {
        let order_ids = placement.orders.iter().map(|order| order.order_id).collect();
        let before = Before { fingerprint: key_use.fingerprint, order_ids, created_at: None };
        self.0.insert(hash(&key_use.key), before);
    }
}

/// The keys of these placements that were used before.
pub(in crate::store) async fn used(
    connection: &mut MySqlConnection,
    placements: &[Placement],
) -> Result<Used, sqlx::Error> {
    let hashes: Vec<_> = key_uses(placements.iter()).map(|(key_use, _)| hex::encode(hash(&key_use.key))).collect();
    if hashes.is_empty() {
        return Ok(Used(HashMap::new()));
    }
    let rows: Vec<UsedRow> =
        sqlx::query_as(USED).bind(serde_json::json!(hashes).to_string()).fetch_all(connection).await?;
    Ok(Used(rows.into_iter().filter_map(UsedRow::parts).collect()))
}

/// Writes the keys of these placements.
pub(in crate::store) async fn insert<'a>(
    connection: &mut MySqlConnection,
    placements: impl Iterator<Item = &'a Placement>,
) -> Result<(), sqlx::Error> {
    let mut rows: Vec<_> = key_uses(placements)
        .map(|(key_use, placement)| {
            let order_ids: String =
                placement.orders.iter().map(|order| order.order_id.uuid().simple().to_string()).collect();
            [hex::encode(hash(&key_use.key)), hex::encode(key_use.fingerprint.0), order_ids]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    // Two writers of the same keys take them in the same order, so that one waits for the other and never both.
    rows.sort_unstable();
    sqlx::query(INSERT).bind(serde_json::json!(rows).to_string()).execute(connection).await?;
    Ok(())
}

fn key_uses<'a>(placements: impl Iterator<Item = &'a Placement>) -> impl Iterator<Item = (&'a KeyUse, &'a Placement)> {
    placements.filter_map(|placement| placement.key.as_ref().map(|key_use| (key_use, placement)))
}

#[derive(Debug, sqlx::FromRow)]
struct UsedRow {
    key_hash: Vec<u8>,
    fingerprint: Vec<u8>,
    order_ids: Vec<u8>,
    created_at: DateTime<Utc>,
}

impl UsedRow {
    /// `None` for a row that something else wrote.
    fn parts(self) -> Option<(Hash, Before)> {
        let ids = self.order_ids.chunks(16).map(|id| Uuid::from_slice(id).map(OrderId::from));
        let before = Before {
            fingerprint: Fingerprint(self.fingerprint.try_into().ok()?),
            order_ids: ids.collect::<Result<_, _>>().ok()?,
            created_at: Some(self.created_at),
        };
        Some((self.key_hash.try_into().ok()?, before))
    }
}

fn hash(key: &IdempotencyKey) -> Hash {
    Sha256::digest(key.as_str()).into()
}
