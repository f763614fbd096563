use std::collections::{BTreeMap, HashSet};

use sqlx::{Connection, MySqlConnection};
use uuid::Uuid;

use super::locked::Listed;
use crate::domain::{Claim, ClaimToken, OrderId};
use crate::store::orders::counts::CountDelta;
use crate::store::sql::{Id, Script, ids};
use crate::store::{ErrorKind, Store, StoreError};

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
    pub(in crate::store) fn finished(asked: usize, changed: u64, busy: Vec<T>) -> Self {
        let stale = (asked as u64).saturating_sub(changed + busy.len() as u64);
        Self { done: Finished { changed, stale }, busy }
    }
}

/// Completes those of the orders whose claims hold, at the same moment. One statement for all claims, so that it takes its
/// locks in the order of ids.
pub(in crate::store) fn complete(claims: impl IntoIterator<Item = (OrderId, ClaimToken)>) -> String {
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
        set status = 'COMPLETED', updated_at = now(6)
        where status = 'PROCESSING' and ({hold})
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
            let listed: Vec<&Claim> = claims.iter().collect();
            let counts = complete_all(&mut line, Script::begin(), &listed).await?;
            let all = counts.is_some();
            let end = match counts {
                Some(counts) => Script::default().then(counts.statement()).commit(),
                None => Script::default().rollback(),
            };
            end.run(&mut line).await?;
            line.done();
            Ok(all)
        });
        match all.await {
            Ok(true) => {
                let completed = claims.len();
                let busy = self.let_go(claims, &HashSet::new(), |claim| claim);
                Ok(Partly::finished(completed, completed as u64, busy))
            }
            Ok(false) => self.complete_held(claims).await,
            Err(error) if error.kind() == ErrorKind::Locked => self.complete_held(claims).await,
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
                let counts = complete_all(&mut transaction, Script::default(), &held).await?;
                // If not all could be, two claims of one order are among them: apart, each is told.
                counts.ok_or(sqlx::Error::RowNotFound)?.count(&mut transaction).await?;
            }
            transaction.commit().await?;
            line.done();
            Ok((held.len() as u64, busy))
        });
        match completed.await {
            Ok((changed, busy)) => {
                let asked = claims.len();
                let busy = self.let_go(claims, &busy, |claim| claim);
                Ok(Partly::finished(asked, changed, busy))
            }
            Err(error) => Err((claims, error)),
        }
    }

    /// Lets all of these go but those that are busy, which it gives back: the others' outcomes are stored, or they are
    /// somebody else's.
    pub(in crate::store) fn let_go<T>(&self, all: Vec<T>, busy: &HashSet<OrderId>, claim: fn(&T) -> &Claim) -> Vec<T> {
        let (busy, gone): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| busy.contains(&claim(one).order_id()));
        self.batches.let_go(gone.iter().map(|one| claim(one).token()));
        busy
    }
}

/// Completes these claims, at least one, and gives what is to be counted; `None` where not all of them hold.
async fn complete_all(
    connection: &mut MySqlConnection,
    script: Script,
    claims: &[&Claim],
) -> Result<Option<CountDelta>, sqlx::Error> {
    let first = Id(claims.first().ok_or(sqlx::Error::RowNotFound)?.order_id().uuid());
    let script = script
        .then(complete(claims.iter().map(|claim| (claim.order_id(), claim.token()))))
        .then(format_args!("select updated_at from orders where order_id = {first}"));
    let ran = script.run(connection).await?;
    if ran.changed != claims.len() as u64 {
        return Ok(None);
    }
    let placed: Vec<_> = claims.iter().map(|claim| claim.order().created_at).collect();
    Ok(Some(CountDelta::completed(&placed, ran.time()?)))
}

pub(in crate::store) fn pairs(claims: &[Claim]) -> Vec<(OrderId, ClaimToken)> {
    claims.iter().map(|claim| (claim.order_id(), claim.token())).collect()
}
