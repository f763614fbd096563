//! Claimed orders, found by their claims.

use std::collections::HashSet;

use sqlx::MySqlConnection;
use uuid::Uuid;

use crate::domain::{ClaimToken, OrderId};

macro_rules! listed_orders {
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
pub(in crate::store) const LOCK_LISTED: &str = concat!(
    listed_orders!(
        "orders.order_id, orders.attempt, orders.rescues,
        cast(orders.status = 'PROCESSING' and orders.claim_token = listed.token as signed) as claim_holds"
    ),
    "for update skip locked"
);

const LISTED: &str = listed_orders!("orders.order_id");

const HELD: &str = concat!(
    listed_orders!("orders.order_id, listed.token"),
    "where orders.status = 'PROCESSING' and orders.claim_token = listed.token"
);

/// An order that is locked.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::store) struct Held {
    pub(in crate::store) order_id: Uuid,
    pub(in crate::store) attempt: u16,
    pub(in crate::store) rescues: u8,
    claim_holds: i64,
}

/// A batch of claims as it travels to the server.
pub(in crate::store) struct Listed {
    json: String,
    length: usize,
}

impl Listed {
    /// In the order of the ids, in which every writer takes its row locks.
    pub(in crate::store) fn new(mut claims: Vec<(OrderId, ClaimToken)>) -> Self {
        claims.sort_unstable_by_key(|(order_id, _)| *order_id);
        Self { length: claims.len(), json: as_json(&claims) }
    }

    /// Locks those whose claim holds. The others are those that somebody else has locked: whether their claims hold will
    /// show when that is over. A claim may even be made then, by a commit that nobody waits for any more.
    pub(in crate::store) async fn lock(
        &self,
        connection: &mut MySqlConnection,
    ) -> Result<(Vec<Held>, HashSet<OrderId>), sqlx::Error> {
        let locked: Vec<Held> = sqlx::query_as(LOCK_LISTED).bind(&self.json).fetch_all(&mut *connection).await?;
        let mut busy = HashSet::new();
        if locked.len() < self.length {
            let all: Vec<Uuid> = sqlx::query_scalar(LISTED).bind(&self.json).fetch_all(connection).await?;
            busy.extend(all.into_iter().map(OrderId::from));
            for order in &locked {
                busy.remove(&order.order_id.into());
            }
        }
        Ok((locked.into_iter().filter(|order| order.claim_holds == 1).collect(), busy))
    }
}

/// Those of the claims that hold. Locks nothing.
pub(in crate::store) async fn still_held(
    connection: &mut MySqlConnection,
    claims: Vec<(OrderId, ClaimToken)>,
) -> Result<Vec<(OrderId, ClaimToken)>, sqlx::Error> {
    let held: Vec<(Uuid, Uuid)> = sqlx::query_as(HELD).bind(Listed::new(claims).json).fetch_all(connection).await?;
    Ok(held.into_iter().map(|(order_id, token)| (order_id.into(), token.into())).collect())
}

/// The pairs as an array of arrays, in hexadecimal.
fn as_json(pairs: &[(OrderId, ClaimToken)]) -> String {
    let rows: Vec<_> = pairs
        .iter()
        .map(|(order_id, token)| format!(r#"["{}","{}"]"#, order_id.uuid().simple(), token.uuid().simple()))
        .collect();
    format!("[{}]", rows.join(","))
}
