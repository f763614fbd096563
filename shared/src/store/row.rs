use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::domain::{Amount, ItemIds, Order, OrderId, OrderStatus, UserId};

/// The columns of an [`OrderRow`], for every query that reads orders.
macro_rules! order_columns {
    () => {
        "order_id, user_id, item_ids, cast(total_amount as char) as total_amount, status, attempt, due_at, claimed_at, \
         completed_at, created_at, updated_at"
    };
}
pub(super) use order_columns;

/// One row of `orders` as the driver reads it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct OrderRow {
    order_id: Uuid,
    user_id: i64,
    item_ids: Json<Vec<i64>>,
    total_amount: String,
    status: String,
    attempt: u16,
    due_at: Option<DateTime<Utc>>,
    claimed_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<OrderRow> for Order {
    type Error = sqlx::Error;

    /// Fails only on a row that something else than this store wrote.
    fn try_from(row: OrderRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            order_id: OrderId::from(row.order_id),
            user_id: UserId::new(row.user_id).ok_or_else(|| unreadable("user_id", "it is below 1"))?,
            item_ids: ItemIds::new(row.item_ids.0).map_err(|error| unreadable("item_ids", error))?,
            total_amount: row.total_amount.parse::<Amount>().map_err(|error| unreadable("total_amount", error))?,
            status: row.status.parse::<OrderStatus>().map_err(|error| unreadable("status", error))?,
            attempt: row.attempt,
            due_at: row.due_at,
            claimed_at: row.claimed_at,
            completed_at: row.completed_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Every row as an order.
pub(super) fn orders(rows: Vec<OrderRow>) -> Result<Vec<Order>, sqlx::Error> {
    rows.into_iter().map(Order::try_from).collect()
}

fn unreadable(column: &str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: why.into() }
}
