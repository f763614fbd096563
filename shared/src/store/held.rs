//! Claimed orders, found by their claims.

use sqlx::MySqlConnection;
use uuid::Uuid;

use crate::domain::{ClaimToken, OrderId};

macro_rules! held {
    () => {
        r"
        select orders.order_id, orders.attempt, orders.rescues
        from (
            select unhex(order_id) as order_id, unhex(token) as token
            from json_table(?, '$[*]' columns (order_id char(32) path '$[0]', token char(32) path '$[1]')) as listed
        ) as held
        straight_join orders force index (primary) on orders.order_id = held.order_id
        where orders.status = 'PROCESSING' and orders.claim_token = held.token
        "
    };
}

/// Locks those of the orders whose claim still holds, but for those that somebody else has locked: one that is locked for
/// long must not hold up its neighbours. MySQL refuses a locking clause over a `json_table`, but not over a query of one.
pub(super) const LOCK_HELD: &str = concat!(held!(), "for update skip locked");

const HELD: &str = held!();

/// An order whose claim holds.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Held {
    pub(super) order_id: Uuid,
    pub(super) attempt: u16,
    pub(super) rescues: u8,
}

/// A batch of claims as it travels to the server.
pub(super) struct Listed(String);

impl Listed {
    /// In the order of the ids, in which every writer takes its row locks.
    pub(super) fn new(mut claims: Vec<(OrderId, ClaimToken)>) -> Self {
        claims.sort_unstable_by_key(|(order_id, _)| *order_id);
        Self(as_json(claims.into_iter()))
    }

    /// As the array of arrays that the statements take.
    pub(super) fn json(&self) -> &str {
        &self.0
    }

    /// Locks those whose claim holds and that nobody else has locked.
    pub(super) async fn lock(&self, connection: &mut MySqlConnection) -> Result<Vec<Held>, sqlx::Error> {
        sqlx::query_as(LOCK_HELD).bind(&self.0).fetch_all(connection).await
    }

    /// Those whose claim holds; locks nothing.
    pub(super) async fn still_held(&self, connection: &mut MySqlConnection) -> Result<Vec<OrderId>, sqlx::Error> {
        let held: Vec<Held> = sqlx::query_as(HELD).bind(&self.0).fetch_all(connection).await?;
        Ok(held.into_iter().map(|held| held.order_id.into()).collect())
    }
}

/// The pairs as an array of arrays, in hexadecimal.
pub(super) fn as_json(pairs: impl Iterator<Item = (OrderId, ClaimToken)>) -> String {
    let rows: Vec<_> = pairs
        .map(|(order_id, token)| format!(r#"["{}","{}"]"#, order_id.uuid().simple(), token.uuid().simple()))
        .collect();
    format!("[{}]", rows.join(","))
}
