//! Finding claimed orders by their claims, and locking them.

use std::collections::HashSet;

use sqlx::MySqlConnection;
use uuid::Uuid;

use crate::domain::{Claim, ClaimToken, OrderId};
use crate::store::hot::Hot;
use crate::store::sql::status;

/// An order, and the batch that it was claimed in.
pub(super) type ClaimedOrder = (OrderId, ClaimToken);

macro_rules! claimed_orders {
    ($columns:expr) => {
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

macro_rules! claim_holds {
    () => {
        concat!("orders.status = ", status!(Processing), " and orders.claim_token = listed.token")
    };
}

/// Locks the orders of a batch, except those that somebody else has locked: an order that is locked for long must not
/// hold up its neighbours. MySQL rejects a locking clause on a `json_table`, but not on a subquery of one.
const LOCK_CLAIMED: &str = concat!(
    claimed_orders!(concat!(
        "orders.order_id, orders.attempt, orders.rescues, cast(",
        claim_holds!(),
        " as signed) as claim_holds"
    )),
    "for update skip locked"
);

const EXISTING: &str = claimed_orders!("orders.order_id");

const STILL_CLAIMED: &str = concat!(claimed_orders!("orders.order_id, listed.token"), "where ", claim_holds!());

pub(in crate::store) fn hot_statements() -> Vec<Hot> {
    vec![Hot::of_batch("lock claimed orders", LOCK_CLAIMED, "orders")]
}

/// A claim that holds, and whose order is locked.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct LockedClaim {
    pub(super) order_id: Uuid,
    pub(super) attempt: u16,
    pub(super) rescues: u8,
    claim_holds: i64,
}

/// Locks the orders, and returns those whose claim holds, and those that somebody else has locked. Of the latter one
/// cannot say yet whether their claims hold: the lock may even be that of the claim itself, whose commit nobody waits
/// for any more.
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

/// The claims that hold. Locks nothing.
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

/// An array of pairs in the order of ids, in which every writer locks rows.
fn to_json(claims: &[ClaimedOrder]) -> String {
    let mut claims = claims.to_vec();
    claims.sort_unstable_by_key(|(order_id, _)| *order_id);
    let pair =
        |(order_id, token): &ClaimedOrder| format!(r#"["{}","{}"]"#, order_id.uuid().simple(), token.uuid().simple());
    format!("[{}]", claims.iter().map(pair).collect::<Vec<_>>().join(","))
}
