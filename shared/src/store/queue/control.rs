//! What people do to orders and to the queue.

use chrono::{DateTime, Utc};
use sqlx::Executor;
use uuid::Uuid;

use super::outages;
use crate::domain::{EventKind, Order, OrderId, OrderStatus, RESCUES_MAX};
use crate::store::orders::counts::CountDelta;
use crate::store::orders::list;
use crate::store::sql::{Script, never};
use crate::store::{Store, StoreError};

const LOCK_STATUS: &str = "select status, rescues from orders where order_id = ? for update";

const CANCEL: &str = concat!(
    r"
    update orders
    set status = ?, updated_at = now(6), available_at = ",
    never!(),
    " where order_id = ? and status = ?"
);

const RETRY: &str = r"
    update orders
    set status = ?, available_at = now(6), attempt = 0, rescues = 0, last_error = null, updated_at = now(6)
    where order_id = ? and status = ?
";

const NOTE: &str = concat!(
    "insert into order_events (order_id, event_id, event, available_at) select order_id, ?, ?, nullif(available_at, ",
    never!(),
    ") from orders where order_id = ?"
);

/// The result of a change that a person asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Change {
    /// The order is as the person wants it.
    Made(Order),
    /// The order's status forbids it; nothing was changed.
    Conflict(Order),
    /// The order is poison, and the change was not forced; nothing was changed.
    Poison(Order),
    /// There is no such order.
    NotFound,
}

/// How such a change affects an order.
struct Transition {
    from: OrderStatus,
    to: OrderStatus,
    sql: &'static str,
    event: EventKind,
    /// Whether it leaves a poisonous order alone.
    spares_poison: bool,
}

impl Store {
    /// Cancels a PENDING order. Does nothing to a CANCELED one.
    pub async fn cancel(&self, order_id: OrderId) -> Result<Change, StoreError> {
        let (from, to) = (OrderStatus::Pending, OrderStatus::Canceled);
        let canceling = Transition { from, to, sql: CANCEL, event: EventKind::Canceled, spares_poison: false };
        self.change("cancel an order", order_id, canceling).await
    }

    /// Gives a FAILED order all its attempts again, and makes it due at once; a poisonous one only if `force`d.
    pub async fn retry(&self, order_id: OrderId, force: bool) -> Result<Change, StoreError> {
        let (from, to) = (OrderStatus::Failed, OrderStatus::Pending);
        let retrying = Transition { from, to, sql: RETRY, event: EventKind::Retried, spares_poison: !force };
        self.change("retry an order", order_id, retrying).await
    }

    async fn change(
        &self,
        doing: &'static str,
        order_id: OrderId,
        Transition { from, to, sql, event, spares_poison }: Transition,
    ) -> Result<Change, StoreError> {
        self.transaction(doing, async |connection| {
            let locked: Option<(String, u8)> =
                sqlx::query_as(LOCK_STATUS).bind(order_id.uuid()).fetch_optional(&mut *connection).await?;
            let fits = locked.as_ref().is_some_and(|(status, _)| status == from.name());
            let is_spared = fits && spares_poison && locked.is_some_and(|(_, rescues)| rescues >= RESCUES_MAX);
            let changes = fits && !is_spared;
            if changes {
                let update = sqlx::query(sql).bind(to.name()).bind(order_id.uuid()).bind(from.name());
                update.execute(&mut *connection).await?;
                let note = sqlx::query(NOTE).bind(Uuid::now_v7()).bind(event.name()).bind(order_id.uuid());
                note.execute(&mut *connection).await?;
                // A retried order waits anew: a worker of another release may have left its wait behind.
                outages::end(Script::default(), [order_id].into_iter()).run(connection).await?;
            }
            let order = list::read(connection, order_id).await?;
            if changes {
                CountDelta::default().moved(from, to, 1).count(connection).await?;
            }
            Ok(match order {
                None => Change::NotFound,
                Some(order) if is_spared => Change::Poison(order),
                Some(order) if changes || (order.status == to && to.is_final()) => Change::Made(order),
                Some(order) => Change::Conflict(order),
            })
        })
        .await
    }

    /// Stops all claims until [`Store::resume`]. Orders under way are finished. Returns since when the queue has been
    /// paused.
    pub async fn pause(&self) -> Result<DateTime<Utc>, StoreError> {
        self.transaction("pause the queue", async |connection| {
            // The first pause counts. The row stays locked until it has been read, so that nobody resumes in between.
            let pause = "insert into queue_pauses (pause_id) values (1) on duplicate key update pause_id = 1";
            connection.execute(pause).await?;
            sqlx::query_scalar("select paused_at from queue_pauses").fetch_one(connection).await
        })
        .await
    }

    /// Allows claims again.
    pub async fn resume(&self) -> Result<(), StoreError> {
        let resume = "delete from queue_pauses";
        self.call("resume the queue", async |connection| connection.execute(resume).await.map(drop)).await
    }
}
