use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{Connection, MySqlConnection};

use super::counts::Moves;
use super::held::{Listed, as_json};
use super::{Store, StoreError};
use crate::domain::{Claim, ClaimToken, OrderId};

/// What became of a batch of claims that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Finished {
    /// Orders that changed.
    pub changed: u64,
    /// Orders that somebody else holds or has finished by now: nothing was changed.
    pub stale: u64,
}

/// A batch of which some could not be had.
#[derive(Debug)]
#[must_use]
pub struct Partly<T, Done> {
    /// What became of the others.
    pub done: Done,
    /// Somebody else has locked these: to be tried again.
    pub busy: Vec<T>,
}

impl<T> Partly<T, Finished> {
    pub(super) fn finished(asked: usize, changed: u64, busy: Vec<T>) -> Self {
        let stale = (asked as u64).saturating_sub(changed + busy.len() as u64);
        Self { done: Finished { changed, stale }, busy }
    }
}

pub(super) const COMPLETE: &str = r"
    update json_table(?, '$[*]' columns (order_id char(32) path '$[0]', token char(32) path '$[1]')) as done
    straight_join orders force index (primary) on orders.order_id = unhex(done.order_id)
    set orders.status = 'COMPLETED',
        orders.claim_token = null,
        orders.completed_at = now(6),
        orders.updated_at = now(6)
    where orders.status = 'PROCESSING' and orders.claim_token = unhex(done.token)
";

impl Store {
    /// Completes every claimed order whose claim still holds, in one commit, but for those that somebody else keeps
    /// locked.
    ///
    /// # Errors
    ///
    /// Gives the claims back with the error when the database is away or refuses. Trying again is safe: an order
    /// that was completed after all counts as stale then.
    pub async fn complete(&self, claims: Vec<Claim>) -> Result<Partly<Claim, Finished>, (Vec<Claim>, StoreError)> {
        let listed = Listed::new(pairs(&claims));
        let all = self.call("complete orders", async {
            let mut line = self.line().await?;
            let mut transaction = line.begin().await?;
            let all = complete_all(&mut transaction, listed.json(), &since(&claims)).await?;
            if all {
                transaction.commit().await?;
            } else {
                transaction.rollback().await?;
            }
            line.done();
            Ok(all)
        });
        match all.await {
            Ok(true) => Ok(Partly::finished(claims.len(), claims.len() as u64, Vec::new())),
            Ok(false) => self.complete_held(claims, &listed).await,
            Err(error) if error.is_lock_wait() => self.complete_held(claims, &listed).await,
            Err(error) => Err((claims, error)),
        }
    }

    /// Completes those whose claim holds and that nobody else has locked.
    async fn complete_held(
        &self,
        claims: Vec<Claim>,
        listed: &Listed,
    ) -> Result<Partly<Claim, Finished>, (Vec<Claim>, StoreError)> {
        let completed = self.call("complete orders", async {
            let mut line = self.line().await?;
            let mut transaction = line.begin().await?;
            let (held, busy) = listed.lock(&mut transaction).await?;
            let held: HashSet<OrderId> = held.into_iter().map(|held| held.order_id.into()).collect();
            let held: Vec<&Claim> = claims.iter().filter(|claim| held.contains(&claim.order_id())).collect();
            if !held.is_empty() {
                let had = as_json(held.iter().map(|claim| (claim.order_id(), claim.token())));
                if !complete_all(&mut transaction, &had, &since(held.iter().copied())).await? {
                    // Two claims of one order are among them: apart, each is told.
                    return Err(sqlx::Error::RowNotFound);
                }
            }
            transaction.commit().await?;
            line.done();
            Ok((held.len() as u64, busy))
        });
        match completed.await {
            Ok((changed, busy)) => {
                let asked = claims.len();
                let busy = claims.into_iter().filter(|claim| busy.contains(&claim.order_id())).collect();
                Ok(Partly::finished(asked, changed, busy))
            }
            Err(error) => Err((claims, error)),
        }
    }
}

/// Completes these claims, and counts them; `false`, and not counted, where not all of them hold.
async fn complete_all(
    connection: &mut MySqlConnection,
    claims: &str,
    since: &[(OrderId, DateTime<Utc>)],
) -> Result<bool, sqlx::Error> {
    let changed = sqlx::query(COMPLETE).bind(claims).execute(&mut *connection).await?.rows_affected();
    let all = changed == since.len() as u64;
    if all {
        Moves::completed(since).count(connection).await?;
    }
    Ok(all)
}

/// When each of these was placed.
fn since<'a>(claims: impl IntoIterator<Item = &'a Claim>) -> Vec<(OrderId, DateTime<Utc>)> {
    claims.into_iter().map(|claim| (claim.order_id(), claim.order().created_at)).collect()
}

pub(super) fn pairs(claims: &[Claim]) -> Vec<(OrderId, ClaimToken)> {
    claims.iter().map(|claim| (claim.order_id(), claim.token())).collect()
}
