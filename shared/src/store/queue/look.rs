//! Looking at the queue without a claim: whether any order is due, the queue as a whole, and why an order is not done.

use std::iter;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::MySqlConnection;
use uuid::Uuid;

use super::claim::is_due;
use super::clock::earliest;
use super::outages;
use crate::domain::{Order, OrderId, OrderStatus, Queue, Situation};
use crate::store::hot::{Hot, LIMIT};
use crate::store::orders::list;
use crate::store::sql::{Value, status};
use crate::store::{Store, StoreError};

const PAUSED: &str = "select paused_at from queue_pauses";

/// The first of the waiting orders, if it is due. It is read by one value of the index: for a range MySQL may read the
/// whole index (see [`ANY_DUE`]).
const OLDEST_DUE: &str = r"
    select order_id, available_at, timestampdiff(microsecond, available_at, now(6))
    from (
        select order_id, available_at
        from orders force index (orders_by_status)
        where listed_as = ?
        order by available_at, created_at, order_id
        limit 1
    ) as oldest
    where available_at <= now(6)
";

/// Asks for columns that `orders_by_status` does not have. If MySQL takes a table for empty, as statistics say of one
/// that was just loaded from a dump, it reads an index that has all columns from end to end.
const ANY_DUE: &str = concat!(
    r"
    select exists (
        select 1
        from orders force index (orders_by_status)
        where listed_as = ",
    status!(Pending),
    " and available_at between ? and now(6) + interval ? microsecond and ",
    is_due!(),
    r"
            and not exists (select 1 from queue_pauses)
    )
    "
);

/// Reads the index entries before the order, up to the limit.
const AHEAD: &str = r"
    select count(*)
    from (
        select 1
        from orders force index (orders_by_status)
        where listed_as = ? and available_at <= ?
            and (available_at < ? or created_at < ? or (created_at = ? and order_id < ?))
        limit ?
    ) as ahead
";

pub(in crate::store) fn hot_statements() -> Vec<Hot> {
    let pending = Value::Text(OrderStatus::Pending.name());
    let times = iter::repeat_n(Value::Time(Utc::now().naive_utc()), 4);
    let place = times.chain([Value::Id(Uuid::nil()), Value::Number(LIMIT.into())]);
    let ahead = iter::once(pending.clone()).chain(place).collect();
    let scanned = vec![Value::Time(earliest()), Value::Number(0)];
    vec![
        Hot::listing("count orders ahead", AHEAD, ahead, "orders_by_status"),
        Hot::listing("find the oldest due", OLDEST_DUE, vec![pending], "orders_by_status").up_to(1),
        Hot::listing("see whether any is due", ANY_DUE, scanned, "orders_by_status").up_to(1),
    ]
}

impl Store {
    /// Whether any order is due, locked or not, and the queue is not paused. `cursor` is as for [`Store::claim`]. Locks
    /// nothing.
    pub async fn is_any_due(&self, cursor: Option<DateTime<Utc>>) -> Result<bool, StoreError> {
        self.call("see whether orders are due", async |connection| {
            let scan = self.clock.scan(cursor);
            sqlx::query_scalar(ANY_DUE).bind(scan.from).bind(scan.ahead_us).fetch_one(connection).await
        })
        .await
    }

    /// The queue now. Its parts are read one after the other.
    pub async fn queue(&self) -> Result<Queue, StoreError> {
        let counts = self.order_counts().await?;
        let workers = self.live_workers().await?;
        let (_, clock_behind) = self.read_clock().await?;
        self.call("read the queue", async |connection| {
            let paused_at = sqlx::query_scalar(PAUSED).fetch_optional(&mut *connection).await?;
            let oldest: Option<(Uuid, DateTime<Utc>, i64)> =
                sqlx::query_as(OLDEST_DUE).bind(OrderStatus::Pending.name()).fetch_optional(&mut *connection).await?;
            let oldest_due = oldest.map(|(order_id, since, late_us)| {
                (OrderId::from(order_id), since, Duration::from_micros(u64::try_from(late_us).unwrap_or_default()))
            });
            Ok(Queue { paused_at, counts, oldest_due, workers, clock_behind })
        })
        .await
    }

    /// An order and its situation; `None` if there is no such order.
    pub async fn situation(&self, order_id: OrderId) -> Result<Option<(Order, Situation)>, StoreError> {
        let workers = self.live_workers().await?;
        let (now, clock_behind) = self.read_clock().await?;
        self.call("see why an order is not done", async |connection| {
            let order = list::read(connection, order_id).await?;
            let paused_at = sqlx::query_scalar(PAUSED).fetch_optional(&mut *connection).await?;
            let ahead = match &order {
                Some(order) if order.available_at.is_some_and(|at| at <= now) => ahead(connection, order).await?,
                _ => 0,
            };
            let outage = match &order {
                Some(order) if order.status == OrderStatus::Pending => outages::read_one(connection, order_id).await?,
                _ => None,
            };
            Ok(order.map(|order| {
                let (live_workers, open_breaker) = (workers.len() as u64, Situation::open_breaker(&workers));
                let holder = workers.into_iter().find(|worker| Some(worker.worker_id) == order.worker_id);
                (order, Situation { now, paused_at, live_workers, open_breaker, holder, ahead, outage, clock_behind })
            }))
        })
        .await
    }
}

async fn ahead(connection: &mut MySqlConnection, order: &Order) -> Result<u64, sqlx::Error> {
    let Some(available_at) = order.available_at.map(|at| at.naive_utc()) else { return Ok(0) };
    let created_at = order.created_at.naive_utc();
    let counted: i64 = sqlx::query_scalar(AHEAD)
        .bind(OrderStatus::Pending.name())
        .bind(available_at)
        .bind(available_at)
        .bind(created_at)
        .bind(created_at)
        .bind(order.order_id.uuid())
        .bind(Situation::AHEAD_MAX)
        .fetch_one(connection)
        .await?;
    Ok(u64::try_from(counted).unwrap_or_default())
}
