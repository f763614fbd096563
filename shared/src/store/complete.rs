use std::collections::{BTreeMap, HashSet};

use sqlx::Connection;
use uuid::Uuid;

use super::counts::{COMPLETED_AT, Moves};
use super::held::Listed;
use super::script::{Id, Script, ids};
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

/// Completes those of one claim's orders whose claim holds.
pub(super) fn complete(token: ClaimToken, order_ids: impl IntoIterator<Item = Uuid>) -> String {
    let (token, order_ids) = (Id(token.uuid()), ids(order_ids));
    format!(
        r"
        update orders force index (primary)
        set status = 'COMPLETED',
            claim_token = null,
            completed_at = {COMPLETED_AT},
            updated_at = {COMPLETED_AT}
        where order_id in ({order_ids}) and status = 'PROCESSING' and claim_token = {token}
        "
    )
}

impl Store {
    /// Completes every claimed order whose claim still holds, in one commit, but for those that somebody else keeps
    /// locked.
    ///
    /// # Errors
    ///
    /// Gives the claims back with the error when the database is away or refuses. Trying again is safe: an order
    /// that was completed after all counts as stale then.
    pub async fn complete(&self, claims: Vec<Claim>) -> Result<Partly<Claim, Finished>, (Vec<Claim>, StoreError)> {
        let all = self.call("complete orders", async {
            let mut line = self.line().await?;
            let all = completions(Script::begin(), &claims).run(&mut line).await?.changed == claims.len() as u64;
            let end = if all { count(&claims).commit() } else { Script::default().rollback() };
            end.run(&mut line).await?;
            line.done();
            Ok(all)
        });
        match all.await {
            Ok(true) => Ok(Partly::finished(claims.len(), claims.len() as u64, Vec::new())),
            Ok(false) => self.complete_held(claims).await,
            Err(error) if error.is_lock_wait() => self.complete_held(claims).await,
            Err(error) => Err((claims, error)),
        }
    }

    /// Completes those whose claim holds and that nobody else has locked.
    async fn complete_held(&self, claims: Vec<Claim>) -> Result<Partly<Claim, Finished>, (Vec<Claim>, StoreError)> {
        let listed = Listed::new(pairs(&claims));
        let completed = self.call("complete orders", async {
            let mut line = self.line().await?;
            let mut transaction = line.begin().await?;
            let (held, busy) = listed.lock(&mut transaction).await?;
            let held: HashSet<OrderId> = held.into_iter().map(|held| held.order_id.into()).collect();
            let held: Vec<&Claim> = claims.iter().filter(|claim| held.contains(&claim.order_id())).collect();
            if !held.is_empty() {
                let script = completions(Script::default(), held.iter().copied());
                if script.run(&mut transaction).await?.changed != held.len() as u64 {
                    // Two claims of one order are among them: apart, each is told.
                    return Err(sqlx::Error::RowNotFound);
                }
                count(held.iter().copied()).run(&mut transaction).await?;
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

/// Completes these claims, all at the same moment; counts nothing.
fn completions<'a>(script: Script, claims: impl IntoIterator<Item = &'a Claim>) -> Script {
    let mut order_ids: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for claim in claims {
        order_ids.entry(claim.token().uuid()).or_default().push(claim.order_id().uuid());
    }
    let script = script.then(format_args!("set {COMPLETED_AT} = now(6)"));
    order_ids.into_iter().fold(script, |script, (token, order_ids)| script.then(complete(token.into(), order_ids)))
}

/// Counts what was completed.
fn count<'a>(claims: impl IntoIterator<Item = &'a Claim>) -> Script {
    let placed: Vec<_> = claims.into_iter().map(|claim| claim.order().created_at).collect();
    Script::default().then(Moves::completed(&placed).statement())
}

pub(super) fn pairs(claims: &[Claim]) -> Vec<(OrderId, ClaimToken)> {
    claims.iter().map(|claim| (claim.order_id(), claim.token())).collect()
}
