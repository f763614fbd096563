//! The table `order_outages`: orders that wait since what their work depends on is away.
//!
//! The first time writes an event and a row here, which counts from then on. Every further time replaces the event of the
//! time before, unless that is the first: an order that waits for a day has two events to tell it, not hundreds.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::MySqlConnection;
use uuid::Uuid;

use crate::domain::OrderId;
use crate::store::hot::Hot;
use crate::store::sql::{Id, Script, Time, json_of_ids};

macro_rules! listed_outages {
    () => {
        r"
        from (
            select unhex(order_id) as order_id
            from json_table(?, '$[*]' columns (order_id char(32) path '$')) as ids
        ) as listed
        straight_join order_outages force index (primary) on order_outages.order_id = listed.order_id
        "
    };
}

const OUTAGES: &str = concat!(
    "select order_outages.order_id, since, times, last_at, last_event_id, \
     greatest(timestampdiff(microsecond, since, now(6)), 0) as waited_us",
    listed_outages!()
);

pub(in crate::store) fn hot_statements() -> Vec<Hot> {
    vec![Hot::of_batch("read outages", OUTAGES, "order_outages")]
}

/// How long an order has waited, and how often it has been tried in vain.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Outage {
    order_id: Uuid,
    pub(super) since: DateTime<Utc>,
    pub(super) times: u32,
    last_at: DateTime<Utc>,
    last_event_id: Uuid,
    waited_us: i64,
}

impl Outage {
    /// Time since the first time, by the database's clock.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.waited_us).unwrap_or_default())
    }
}

/// Those of the orders that wait.
pub(super) async fn read(
    connection: &mut MySqlConnection,
    orders: impl Iterator<Item = OrderId>,
) -> Result<HashMap<OrderId, Outage>, sqlx::Error> {
    let outages: Vec<Outage> = sqlx::query_as(OUTAGES).bind(json_of_ids(orders)).fetch_all(connection).await?;
    Ok(outages.into_iter().map(|outage| (outage.order_id.into(), outage)).collect())
}

/// Since when an order waits, and how often it was tried in vain; `None` if it does not wait.
pub(super) async fn read_one(
    connection: &mut MySqlConnection,
    order_id: OrderId,
) -> Result<Option<(DateTime<Utc>, u32)>, sqlx::Error> {
    let outage = "select since, times from order_outages where order_id = ?";
    sqlx::query_as(outage).bind(order_id.uuid()).fetch_optional(connection).await
}

/// Deletes the events that the next ones replace: those of the last time, unless that was the first.
pub(super) fn delete_replaced_events<'a>(script: Script, outages: impl Iterator<Item = &'a Outage>) -> Script {
    let mut replaced: Vec<_> = outages.filter(|outage| outage.times > 1).collect();
    replaced.sort_unstable_by_key(|outage| outage.order_id);
    replaced.into_iter().fold(script, |script, outage| {
        script.then(format_args!(
            "delete from order_events where order_id = {} and at = {} and event_id = {}",
            Id(outage.order_id),
            Time(outage.last_at),
            Id(outage.last_event_id)
        ))
    })
}

/// Ends the waits of these orders. A statement for each row, as one with a list may scan the table.
pub(super) fn end(script: Script, orders: impl Iterator<Item = OrderId>) -> Script {
    let mut orders: Vec<_> = orders.map(OrderId::uuid).collect();
    orders.sort_unstable();
    orders.into_iter().fold(script, |script, order_id| {
        script.then(format_args!("delete from order_outages where order_id = {}", Id(order_id)))
    })
}
