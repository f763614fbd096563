//! How many orders have which status: counted in the transactions that change it, and summed up on demand.
//!
//! One row that everybody counts in would make each transaction wait for the one before. So each connection counts in
//! the row of `connection_id()` modulo 64, and only the sum of the rows means something: a single one may be negative.
//! `orders-api doctor` compares the sums with a full count.
//!
//! The mean processing time needs the sum of all processing times. Only the database knows when a batch was completed,
//! but it is one moment for all of it. Read from the row of one order, with the times of placing, which the worker
//! knows, it gives the sum for one lookup a batch.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::MySqlConnection;

use crate::domain::{OrderCounts, OrderStatus};
use crate::store::connection::{ANSWER_LIMIT, FULL_COUNT_LIMIT};
use crate::store::sql::{Script, status};
use crate::store::{Store, StoreError};

macro_rules! kept {
    () => {
        r"
        from (
            select
                coalesce(sum(pending), 0) as pending,
                coalesce(sum(processing), 0) as processing,
                coalesce(sum(completed), 0) as completed,
                coalesce(sum(failed), 0) as failed,
                coalesce(sum(canceled), 0) as canceled,
                coalesce(sum(processing_us), 0) as processing_us
            from order_counts
        ) as kept
        "
    };
}

/// A single statement, so that all counts are of the same moment.
const ORDER_COUNTS: &str = concat!(
    r"
    select
        cast(pending as signed),
        cast(processing as signed),
        cast(completed as signed),
        cast(failed as signed),
        cast(canceled as signed),
        cast(processing_us as char)
    ",
    kept!()
);

macro_rules! number {
    ($status:ident) => {
        concat!("count(case when status = ", status!($status), " then 1 end)")
    };
}

/// Reads every row of both tables; a single statement, so that both are of the same moment.
const MISCOUNTED: &str = concat!(
    r"
    select
        cast(found.pending - kept.pending as signed),
        cast(found.processing - kept.processing as signed),
        cast(found.completed - kept.completed as signed),
        cast(found.failed - kept.failed as signed),
        cast(found.canceled - kept.canceled as signed),
        cast(found.processing_us - kept.processing_us as char)
    ",
    kept!(),
    "cross join ( select ",
    number!(Pending),
    " as pending, ",
    number!(Processing),
    " as processing, ",
    number!(Completed),
    " as completed, ",
    number!(Failed),
    " as failed, ",
    number!(Canceled),
    r" as canceled,
            coalesce(sum(timestampdiff(microsecond, created_at, completed_at)), 0) as processing_us
        from orders
    ) as found
    "
);

type Row = (i64, i64, i64, i64, i64, String);

impl Store {
    /// How many orders have which status, all at the same moment. Costs the same however many there are.
    pub async fn order_counts(&self) -> Result<OrderCounts, StoreError> {
        self.call("count orders", async |connection| Ok(counted(connection, ORDER_COUNTS).await?.into())).await
    }

    /// Counts all orders, and returns by how much the stored counts are wrong: they are if somebody changed orders by
    /// other SQL than this store's. Reads the whole table and locks nothing.
    pub(in crate::store) async fn miscounted(&self) -> Result<CountDelta, StoreError> {
        self.full_count("count all orders", async |connection| counted(connection, MISCOUNTED).await).await
    }

    /// Corrects the stored counts while others go on counting. One process at a time does so, as `connection` holds a
    /// lock.
    pub(in crate::store) async fn correct_counts(&self, connection: &mut MySqlConnection) -> Result<(), StoreError> {
        let counting = counted(&mut *connection, MISCOUNTED);
        let miscounted = self.long_call("count all orders", FULL_COUNT_LIMIT, counting).await?;
        if miscounted == CountDelta::default() {
            return Ok(());
        }
        tracing::info!(%miscounted, "the counts of orders are set right");
        let correcting = miscounted.count(connection);
        self.long_call("set the counts right", ANSWER_LIMIT, correcting).await
    }
}

async fn counted(connection: &mut MySqlConnection, count: &'static str) -> Result<CountDelta, sqlx::Error> {
    let row: Row = sqlx::query_as(count).fetch_one(connection).await?;
    let (pending, processing, completed, failed, canceled, processing_us) = row;
    let processing_us = processing_us.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(CountDelta { orders: [pending, processing, completed, failed, canceled], processing_us })
}

/// How the counts change: a positive number of orders gets a status, a negative one leaves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct CountDelta {
    /// In the order of [`OrderStatus::ALL`].
    orders: [i64; OrderStatus::ALL.len()],
    processing_us: i128,
}

impl CountDelta {
    /// New orders.
    pub(in crate::store) fn placed(orders: u64) -> Self {
        Self::default().add(OrderStatus::Pending, signed(orders))
    }

    /// Orders that change from one status to another; for COMPLETED there is [`CountDelta::completed`].
    pub(in crate::store) fn moved(self, from: OrderStatus, to: OrderStatus, orders: u64) -> Self {
        self.add(from, -signed(orders)).add(to, signed(orders))
    }

    /// Claimed orders that are completed at the same moment; `placed` says when each was placed.
    pub(in crate::store) fn completed(placed: &[DateTime<Utc>], completed_at: DateTime<Utc>) -> Self {
        let time = |created_at: &DateTime<Utc>| (completed_at - created_at).num_microseconds().unwrap_or_default();
        Self {
            processing_us: placed.iter().map(|created_at| i128::from(time(created_at))).sum(),
            ..Self::default().moved(OrderStatus::Processing, OrderStatus::Completed, placed.len() as u64)
        }
    }

    fn add(mut self, status: OrderStatus, by: i64) -> Self {
        for (_, orders) in OrderStatus::ALL.iter().zip(&mut self.orders).filter(|(known, _)| **known == status) {
            *orders += by;
        }
        self
    }

    /// Stores the change, in the transaction that makes it.
    pub(in crate::store) async fn count(self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        Script::default().then(self.statement()).run(connection).await.map(drop)
    }

    /// Stores the change: the last statement of the transaction that makes it, so that no two can wait for one another
    /// here.
    ///
    /// Each connection counts in a row that it shares with few others. The first use inserts the row.
    pub(in crate::store) fn statement(&self) -> String {
        // Every order passes here, so it is formatted in one go: joining a list takes twenty allocations.
        let ([pending, processing, completed, failed, canceled], processing_us) = (self.orders, self.processing_us);
        format!(
            r"
            insert into order_counts (shard, pending, processing, completed, failed, canceled, processing_us)
            values (
                mod(connection_id(), 64), {pending}, {processing}, {completed}, {failed}, {canceled}, {processing_us}
            )
            on duplicate key update
                pending = pending + {pending},
                processing = processing + {processing},
                completed = completed + {completed},
                failed = failed + {failed},
                canceled = canceled + {canceled},
                processing_us = processing_us + {processing_us}
            "
        )
    }
}

/// For people.
impl fmt::Display for CountDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let orders = self.orders.iter().zip(OrderStatus::ALL).map(|(orders, status)| format!("{orders:+} {status}"));
        let orders = orders.collect::<Vec<_>>().join(", ");
        write!(f, "by {orders} and {:+} microseconds of processing", self.processing_us)
    }
}

impl From<CountDelta> for OrderCounts {
    fn from(delta: CountDelta) -> Self {
        // Less than zero if somebody else deleted orders.
        let [pending, processing, completed, failed, canceled] =
            delta.orders.map(|orders| u64::try_from(orders).unwrap_or_default());
        let micros = delta.processing_us.max(0).unsigned_abs();
        let seconds = u64::try_from(micros / 1_000_000).unwrap_or(u64::MAX);
        let processing_time =
            Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(micros % 1_000_000).unwrap_or_default());
        Self { pending, processing, completed, failed, canceled, processing_time }
    }
}

fn signed(orders: u64) -> i64 {
    i64::try_from(orders).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_batch_took_as_long_as_its_orders_together() {
        let completed_at = DateTime::from_timestamp(1_000_000, 5_000).unwrap_or_default();
        let placed = [7, 1_500_000, -3].map(|earlier| completed_at - TimeDelta::microseconds(earlier));

        let delta = CountDelta::completed(&placed, completed_at);

        assert_eq!(delta, CountDelta { orders: [0, -3, 3, 0, 0], processing_us: 1_500_004 });
    }

    #[test]
    fn what_moved_is_added_to_the_row_of_the_connection_or_begins_it() {
        let sql = CountDelta::default().moved(OrderStatus::Pending, OrderStatus::Processing, 3).statement();

        assert!(sql.contains("mod(connection_id(), 64), -3, 3, 0, 0, 0, 0"), "{sql}");
        assert!(sql.contains("pending = pending + -3,") && sql.contains("processing = processing + 3,"), "{sql}");
    }

    #[test]
    fn orders_that_only_move_stay_as_many_and_fewer_than_none_are_none() {
        let placed = CountDelta::placed(5).moved(OrderStatus::Pending, OrderStatus::Processing, 3);
        let lost = CountDelta::default().moved(OrderStatus::Pending, OrderStatus::Failed, 1);

        assert_eq!(OrderCounts::from(placed), OrderCounts { pending: 2, processing: 3, ..OrderCounts::default() });
        assert_eq!(OrderCounts::from(lost), OrderCounts { failed: 1, ..OrderCounts::default() });
    }
}
