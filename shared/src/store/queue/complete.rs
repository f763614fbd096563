//! Completion, by which almost every order leaves PROCESSING: many at once, in place, without an event.
//!
//! What a claim and a completion set has the same size before and after, and an order in work is listed where it will
//! be listed once it is completed (`listed_as`). `orders_by_status` is the only index that a change of status writes,
//! and a completion does not even write that one. That takes a quarter off the server's time of a drain.
//!
//! If the claim of one order is gone, all of the batch is rolled back. Then, as where a lock is kept for too long,
//! those whose claims hold are locked first, without waiting, and completed after that.

use std::collections::{BTreeMap, HashSet};

use sqlx::MySqlConnection;
use uuid::Uuid;

use super::locked::{self, ClaimedOrder, claimed_order};
use super::outages;
use super::outcome::{BatchError, Settled};
use crate::domain::{Completion, OrderId};
use crate::store::hot::Hot;
use crate::store::orders::counts::CountDelta;
use crate::store::orders::results;
use crate::store::sql::{Id, Script, ids, status};
use crate::store::{ErrorKind, Store, StoreError};

/// Completes the orders whose claims hold, at the same moment. A single statement for all claims, so that it locks rows
/// in the order of ids.
fn complete(claims: impl IntoIterator<Item = ClaimedOrder>) -> String {
    let mut claimed_by: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (order_id, token) in claims {
        claimed_by.entry(token.uuid()).or_default().push(order_id.uuid());
    }
    let claims = claimed_by.into_iter().map(|(token, order_ids)| {
        format!("claim_token = {token} and order_id in ({order_ids})", token = Id(token), order_ids = ids(order_ids))
    });
    let hold = claims.collect::<Vec<_>>().join(" or ");
    format!(
        r"
        update orders force index (primary)
        set status = {completed}, updated_at = now(6)
        where status = {processing} and ({hold})
        ",
        completed = status!(Completed),
        processing = status!(Processing),
    )
}

pub(in crate::store) fn hot_statements(sample: Uuid) -> Vec<Hot> {
    let claims = [sample, Uuid::nil()].map(|order_id| (order_id.into(), Uuid::nil().into()));
    vec![Hot::of_ids("complete orders", complete(claims))]
}

impl Store {
    /// Completes every claimed order whose claim still holds, in one commit, except those that somebody else has
    /// locked.
    ///
    /// Trying again what is left after an error is safe: an order that was completed after all counts as stale then.
    pub async fn complete(&self, orders: Vec<Completion>) -> Result<Settled, BatchError<Completion>> {
        let bytes_max = self.statement_bytes_max();
        let all = self.call("complete orders", async |connection| {
            let all: Vec<_> = orders.iter().collect();
            let counts = complete_all(connection, Script::begin(), &all).await?;
            let end = match &counts {
                Some(counts) => note(Script::default().then(counts.statement()), &all).commit().within(bytes_max)?,
                None => Script::default().rollback(),
            };
            end.run(connection).await?;
            Ok(counts.is_some())
        });
        let outcome = match all.await {
            Ok(true) => Ok((completed(orders.len()), HashSet::new())),
            Ok(false) => self.complete_lockable(&orders).await,
            Err(error) if error.kind() == ErrorKind::Locked => self.complete_lockable(&orders).await,
            Err(error) => Err(error),
        };
        self.let_go(orders, |order| &order.claim, outcome)
    }

    /// Completes the orders whose claims hold and that nobody else has locked. Returns the locked ones too.
    async fn complete_lockable(&self, orders: &[Completion]) -> Result<(Settled, HashSet<OrderId>), StoreError> {
        let bytes_max = self.statement_bytes_max();
        self.transaction("complete orders", async |connection| {
            let pairs: Vec<_> = orders.iter().map(|order| claimed_order(&order.claim)).collect();
            let (lockable, locked) = locked::lock(connection, &pairs).await?;
            let lockable: HashSet<OrderId> = lockable.into_iter().map(|order| order.order_id.into()).collect();
            let held: Vec<_> = orders.iter().filter(|order| lockable.contains(&order.claim.order_id())).collect();
            if !held.is_empty() {
                let counts = complete_all(connection, Script::default(), &held).await?;
                // If not all were completed, the batch has two claims of one order: one by one, each gets its own
                // answer.
                let counts = counts.ok_or(sqlx::Error::RowNotFound)?;
                note(Script::default().then(counts.statement()), &held).within(bytes_max)?.run(connection).await?;
            }
            Ok((completed(held.len()), locked))
        })
        .await
    }
}

fn completed(orders: usize) -> Settled {
    Settled { completed: orders as u64, ..Settled::default() }
}

/// Completes these orders, at least one, and returns what is to be counted; `None` if not all claims hold.
async fn complete_all(
    connection: &mut MySqlConnection,
    script: Script,
    orders: &[&Completion],
) -> Result<Option<CountDelta>, sqlx::Error> {
    let first = Id(orders.first().ok_or(sqlx::Error::RowNotFound)?.claim.order_id().uuid());
    let script = script
        .then(complete(orders.iter().map(|order| claimed_order(&order.claim))))
        .then(format_args!("select updated_at from orders where order_id = {first}"));
    let result = script.run(connection).await?;
    if result.changed != orders.len() as u64 {
        return Ok(None);
    }
    let placed: Vec<_> = orders.iter().map(|order| order.claim.order().created_at).collect();
    Ok(Some(CountDelta::completed(&placed, result.time()?)))
}

/// Adds what few completed orders leave behind: their results, and the end of a wait. An order that waited has an error.
fn note(script: Script, orders: &[&Completion]) -> Script {
    let results = orders.iter().filter_map(|order| Some((order.claim.order_id(), order.result.as_ref()?)));
    let failed_before = orders.iter().filter(|order| order.claim.order().last_error.is_some());
    outages::end(results::insert(script, results), failed_before.map(|order| order.claim.order_id()))
}
