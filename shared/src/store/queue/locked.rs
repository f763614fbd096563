//! Claimed orders, found by their claims and locked.

use std::collections::HashSet;

use sqlx::MySqlConnection;
use uuid::Uuid;

use crate::domain::{Claim, ClaimToken, OrderId};

/// An order, and the batch that it was claimed in.
pub(super) type ClaimedOrder = (OrderId, ClaimToken);

macro_rules! claimed_orders {
    ($columns:literal) => {
        concat!(
            "select ",
            $columns,
            r"
            from (
                select unhex(order_id) as order_id, unhex(token) as token
                from json_table(?, '$[*]' columns (order_id char(32) path '$[0]', token char(32) path '$[1]')) as pairs
            ) as listed
            straight_join orders force index (primary) on orders.order_id = listed.order_id
            "
        )
    };
}

/// Locks the orders of a batch, but for those that somebody else has locked: one that is locked for long must not hold up
/// its neighbours. MySQL refuses a locking clause over a `json_table`, but not over a query of one.
pub(in crate::store) const LOCK_CLAIMED: &str = concat!(
    claimed_orders!(
        "orders.order_id, orders.attempt, orders.rescues,
        cast(orders.status = 'PROCESSING' and orders.claim_token = listed.token as signed) as claim_holds"
    ),
    "for update skip locked"
);

const EXISTING: &str = claimed_orders!("orders.order_id");

const STILL_CLAIMED: &str = concat!(
    claimed_orders!("orders.order_id, listed.token"),
    "where orders.status = 'PROCESSING' and orders.claim_token = listed.token"
);

/// A claim that holds, and whose order is locked.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct LockedClaim {
    pub(super) order_id: Uuid,
    pub(super) attempt: u16,
    pub(super) rescues: u8,
    claim_holds: i64,
}

/// Locks those of the orders whose claim holds, and gives besides those that somebody else has locked: whether their claims
/// hold will show when that is over. A claim may even be made then, by a commit that nobody waits for any more.
pub(super) async fn lock(
    connection: &mut MySqlConnection,
    claims: &[ClaimedOrder],
) -> Result<(Vec<LockedClaim>, HashSet<OrderId>), sqlx::Error> {
    let json = to_json(claims);
    let locked: Vec<LockedClaim> = sqlx::query_as(LOCK_CLAIMED).bind(&json).fetch_all(&mut *connection).await?;
    let mut busy = HashSet::new();
    if locked.len() < claims.len() {
        let existing: Vec<Uuid> = sqlx::query_scalar(EXISTING).bind(&json).fetch_all(connection).await?;
        busy.extend(existing.into_iter().map(OrderId::from));
        for order in &locked {
            busy.remove(&order.order_id.into());
        }
    }
    Ok((locked.into_iter().filter(|order| order.claim_holds == 1).collect(), busy))
}

/// Those of the claims that hold. Locks nothing.
pub(super) async fn still_claimed(
    connection: &mut MySqlConnection,
    claims: &[ClaimedOrder],
) -> Result<Vec<ClaimedOrder>, sqlx::Error> {
    let claimed: Vec<(Uuid, Uuid)> = sqlx::query_as(STILL_CLAIMED).bind(to_json(claims)).fetch_all(connection).await?;
    Ok(claimed.into_iter().map(|(order_id, token)| (order_id.into(), token.into())).collect())
}

pub(super) fn claimed_order(claim: &Claim) -> ClaimedOrder {
    (claim.order_id(), claim.token())
}

/// An array of pairs, in the order of the ids, in which every writer takes its row locks.
fn to_json(claims: &[ClaimedOrder]) -> String {
    let mut claims = claims.to_vec();
    claims.sort_unstable_by_key(|(order_id, _)| *order_id);
    let pair =
        |(order_id, token): &ClaimedOrder| format!(r#"["{}","{}"]"#, order_id.uuid().simple(), token.uuid().simple());
    format!("[{}]", claims.iter().map(pair).collect::<Vec<_>>().join(","))
}
