//! The table `claims`: which orders a worker may hold. A claim writes a row for its batch. When the worker has no order
//! of the batch left, its next claim deletes the row; for a dead worker, the rescue does. Whether a claim still holds
//! is up to the order's own row.
//!
//! No index leads to the orders in work: it would have to be written when they are claimed and again when they are
//! completed. A row goes too late if anything, never too early, and an idle worker leaves those of its last batches
//! behind.
//!
//! A database that forgets what it had committed, as after a failover to a replica that lags behind, or one that was
//! changed by hand, may have orders in work and no row. `orders-api doctor` finds them, and `orders-api migrate` writes
//! the rows anew.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use sqlx::MySqlConnection;
use uuid::Uuid;

use crate::domain::{ClaimToken, OrderId, OrderStatus, WorkerId};
use crate::store::connection::FULL_COUNT_LIMIT;
use crate::store::hot::{Hot, LIMIT};
use crate::store::sql::{Id, Script, Value, json_of_ids};
use crate::store::{Store, StoreError};

/// How many batches a search for orders to rescue reads at once.
const READ_MAX: u32 = 100;

/// The most rows that one claim deletes.
const ENDED_MAX: usize = 100;

/// Counts PROCESSING orders that no row names. There are none unless somebody has changed the tables by hand, or the
/// database lost a commit. Reads every order.
const UNLISTED: &str = r"
    select count(*)
    from orders
    where status = ? and not exists (
        select 1
        from claims
        where claims.claim_token = orders.claim_token
            and json_contains(claims.order_ids, json_quote(lower(hex(orders.order_id))))
    )
";

/// Writes the rows of all PROCESSING orders as they should be, in the order in which claims delete rows. Reads every
/// order.
const RESTORE: &str = r"
    replace into claims (claim_token, worker_id, order_ids)
    select claim_token, max(worker_id), json_arrayagg(lower(hex(order_id)))
    from orders
    where status = ?
    group by claim_token
    order by claim_token
";

/// The next batches of dead workers, behind a given one. The table has a row for each batch under way.
const ORPHANED: &str = r"
    select claims.claim_token, cast(claims.order_ids as char)
    from claims force index (primary)
    left join workers on workers.worker_id = claims.worker_id
    where claims.claim_token > ? and workers.worker_id is null
    order by claims.claim_token
    limit ?
";

pub(in crate::store) fn hot_statements() -> Vec<Hot> {
    let values = vec![Value::Id(Uuid::nil()), Value::Number(LIMIT.into())];
    vec![Hot::new("find orphans", ORPHANED, values, ("claims", "PRIMARY", &["range", "index"]))]
}

/// The batches whose orders this process holds.
#[derive(Debug, Default)]
pub(in crate::store) struct Batches(Mutex<InHand>);

#[derive(Debug, Default)]
struct InHand {
    /// How many orders of each batch.
    orders: HashMap<ClaimToken, usize>,
    /// Batches that have no order left.
    ended: Vec<ClaimToken>,
}

impl Batches {
    /// This process holds so many orders of a batch.
    pub(in crate::store) fn begin(&self, token: ClaimToken, orders: usize) {
        self.with(|in_hand| in_hand.orders.insert(token, orders));
    }

    /// For each of these tokens, one order of the batch has left: its outcome is stored, or it is somebody else's.
    pub(in crate::store) fn let_go(&self, tokens: impl Iterator<Item = ClaimToken>) {
        self.with(|in_hand| {
            for token in tokens {
                let Entry::Occupied(mut orders) = in_hand.orders.entry(token) else { continue };
                *orders.get_mut() -= 1;
                if *orders.get() == 0 {
                    orders.remove();
                    in_hand.ended.push(token);
                }
            }
        });
    }

    /// Some of the batches whose rows are to be deleted.
    pub(in crate::store) fn take_ended(&self) -> Vec<ClaimToken> {
        self.with(|in_hand| in_hand.ended.split_off(in_hand.ended.len().saturating_sub(ENDED_MAX)))
    }

    /// The rows of these may still be there.
    pub(in crate::store) fn put_back(&self, mut ended: Vec<ClaimToken>) {
        self.with(|in_hand| in_hand.ended.append(&mut ended));
    }

    fn with<T>(&self, change: impl FnOnce(&mut InHand) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes the row of a batch.
pub(in crate::store) fn insert(token: ClaimToken, worker_id: WorkerId, order_ids: &[OrderId]) -> String {
    format!(
        "insert into claims (claim_token, worker_id, order_ids) values ({}, {}, '{}')",
        Id(token.uuid()),
        Id(worker_id.uuid()),
        json_of_ids(order_ids.iter().copied())
    )
}

/// Deletes one row per statement: with an IN list MySQL may scan the table and lock other workers' rows. Everybody
/// deletes in the order of tokens, so that no two wait for one another.
pub(in crate::store) fn delete(script: Script, tokens: &[ClaimToken]) -> Script {
    let mut tokens: Vec<_> = tokens.iter().map(|token| token.uuid()).collect();
    tokens.sort_unstable();
    tokens
        .into_iter()
        .fold(script, |script, token| script.then(format_args!("delete from claims where claim_token = {}", Id(token))))
}

/// A batch of a dead worker.
pub(in crate::store) struct OrphanedBatch {
    pub(in crate::store) token: ClaimToken,
    /// `None` if the row names no orders, since this store did not write it.
    pub(in crate::store) order_ids: Option<Vec<OrderId>>,
}

/// The next such batches behind `after`.
pub(in crate::store) async fn orphaned(
    connection: &mut MySqlConnection,
    after: Option<ClaimToken>,
) -> Result<Vec<OrphanedBatch>, sqlx::Error> {
    let after = after.map_or(Uuid::nil(), ClaimToken::uuid);
    let rows: Vec<(Uuid, String)> = sqlx::query_as(ORPHANED).bind(after).bind(READ_MAX).fetch_all(connection).await?;
    let batch = |(token, order_ids): (Uuid, String)| {
        let order_ids = serde_json::from_str::<Vec<Uuid>>(&order_ids).inspect_err(|error| {
            let advice = "`orders-api doctor` tells whether one is missing";
            tracing::error!(%token, %error, "a claim names no orders; {advice}");
        });
        let order_ids = order_ids.ok().map(|order_ids| order_ids.into_iter().map(OrderId::from).collect());
        OrphanedBatch { token: token.into(), order_ids }
    };
    Ok(rows.into_iter().map(batch).collect())
}

impl Store {
    /// How many PROCESSING orders no row names. Reads the whole table and locks nothing.
    pub(in crate::store) async fn unlisted(&self) -> Result<i64, StoreError> {
        self.full_count("look for orders that nobody would rescue", async |connection| {
            sqlx::query_scalar(UNLISTED).bind(OrderStatus::Processing.name()).fetch_one(connection).await
        })
        .await
    }

    /// Writes rows that are missing or wrong, while others go on claiming.
    pub(in crate::store) async fn restore_claims(&self, connection: &mut MySqlConnection) -> Result<(), StoreError> {
        let restoring = sqlx::query(RESTORE).bind(OrderStatus::Processing.name()).execute(connection);
        self.long_call("restore the claims of orders in work", FULL_COUNT_LIMIT, restoring).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_with_its_last_order_and_is_told_of_once() {
        let (batches, first, second) = (Batches::default(), ClaimToken::fresh(), ClaimToken::fresh());
        batches.begin(first, 3);
        batches.begin(second, 1);

        batches.let_go([first, second, first].into_iter());
        assert_eq!(batches.take_ended(), [second]);
        batches.let_go([first, ClaimToken::fresh()].into_iter());
        let ended = batches.take_ended();
        assert_eq!(ended, [first]);
        batches.put_back(ended);

        assert_eq!(batches.take_ended(), [first]);
        assert_eq!(batches.take_ended(), []);
    }
}
