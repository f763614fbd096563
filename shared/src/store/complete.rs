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

impl Finished {
    pub(super) fn of(claims: usize, changed: u64) -> Self {
        Self { changed, stale: (claims as u64).saturating_sub(changed) }
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
    /// Completes every claimed order whose claim still holds, in one commit.
    ///
    /// # Errors
    ///
    /// Gives the claims back with the error when the database is away or refuses. Trying again is safe: an order
    /// that was completed after all counts as stale then.
    pub async fn complete(&self, mut claims: Vec<Claim>) -> Result<Finished, (Vec<Claim>, StoreError)> {
        // Every writer takes its row locks in the order of the ids.
        claims.sort_unstable_by_key(Claim::order_id);
        let done = as_json(claims.iter().map(|claim| (claim.order_id(), claim.token())));
        let changed = self.call("complete orders", async {
            let mut line = self.line().await?;
            let changed = sqlx::query(COMPLETE).bind(done).execute(&mut *line).await?.rows_affected();
            line.done();
            Ok(changed)
        });
        match changed.await {
            Ok(changed) => Ok(Finished::of(claims.len(), changed)),
            Err(error) => Err((claims, error)),
        }
    }
}

/// The pairs as an array of arrays, in hexadecimal.
pub(super) fn as_json(pairs: impl Iterator<Item = (OrderId, ClaimToken)>) -> String {
    let rows: Vec<_> = pairs
        .map(|(order_id, token)| format!(r#"["{}","{}"]"#, order_id.uuid().simple(), token.uuid().simple()))
        .collect();
    format!("[{}]", rows.join(","))
}
