use chrono::{DateTime, Datelike, Utc};
use uuid::Uuid;

use crate::domain::{
    Amount, Currency, ExternalId, ItemIds, ListedOrder, Metadata, Order, OrderId, OrderStatus, UserId, WorkerId,
};

/// The columns of an [`OrderRow`], for every query that reads orders.
macro_rules! order_columns {
    () => {
        "order_id, user_id, cast(item_ids as char) as item_ids, cast(total_amount as char) as total_amount, currency, \
         external_id, cast(metadata as char) as metadata, status, process_after, attempt, rescues, last_error, \
         worker_id, available_at, claimed_at, completed_at, created_at, updated_at"
    };
}
pub(in crate::store) use order_columns;

/// The columns of a [`ListedRow`].
macro_rules! listed_columns {
    () => {
        "order_id, user_id, cast(item_ids as char) as item_ids, cast(total_amount as char) as total_amount, status, \
         created_at, updated_at"
    };
}
pub(in crate::store) use listed_columns;

/// One row of `orders` as the driver reads it: any content of the columns, even if it is not a valid order.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::store) struct OrderRow {
    pub(in crate::store) order_id: Uuid,
    user_id: i64,
    pub(in crate::store) item_ids: String,
    total_amount: String,
    currency: Option<String>,
    external_id: Option<String>,
    pub(in crate::store) metadata: Option<String>,
    status: String,
    process_after: Option<DateTime<Utc>>,
    attempt: u16,
    rescues: u8,
    pub(in crate::store) last_error: Option<String>,
    worker_id: Uuid,
    pub(in crate::store) available_at: DateTime<Utc>,
    claimed_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    pub(in crate::store) created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// The columns of a row of `orders` that a short list shows.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::store) struct ListedRow {
    pub(in crate::store) order_id: Uuid,
    user_id: i64,
    pub(in crate::store) item_ids: String,
    total_amount: String,
    status: String,
    pub(in crate::store) created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A row that is not a valid order, since this store did not write it.
#[derive(Debug, thiserror::Error)]
#[error("{column} of order {order_id} is not readable: {why}")]
pub(in crate::store) struct Unreadable {
    pub(in crate::store) order_id: OrderId,
    column: &'static str,
    why: String,
}

impl From<Unreadable> for sqlx::Error {
    fn from(unreadable: Unreadable) -> Self {
        Self::ColumnDecode { index: unreadable.column.to_owned(), source: Box::new(unreadable) }
    }
}

/// The fields that every view of an order shows.
struct Core {
    user_id: UserId,
    item_ids: ItemIds,
    total_amount: Amount,
    status: OrderStatus,
}

impl Core {
    fn read(
        order_id: OrderId,
        user_id: i64,
        item_ids: &str,
        total_amount: &str,
        status: &str,
    ) -> Result<Self, Unreadable> {
        let unreadable = |column, why: &dyn std::fmt::Display| Unreadable { order_id, column, why: why.to_string() };
        // The parser's own message would repeat the column's content, which may be long.
        let item_ids = serde_json::from_str(item_ids);
        let item_ids = item_ids.map_err(|_| unreadable("item_ids", &"it is no array of integers"))?;
        Ok(Self {
            user_id: UserId::new(user_id).ok_or_else(|| unreadable("user_id", &"it is below 1"))?,
            item_ids: ItemIds::new(item_ids).map_err(|why| unreadable("item_ids", &why))?,
            total_amount: total_amount.parse::<Amount>().map_err(|why| unreadable("total_amount", &why))?,
            status: status.parse::<OrderStatus>().map_err(|why| unreadable("status", &why))?,
        })
    }
}

impl TryFrom<OrderRow> for Order {
    type Error = Unreadable;

    fn try_from(row: OrderRow) -> Result<Self, Unreadable> {
        let order_id = OrderId::from(row.order_id);
        let unreadable = |column, why: &dyn std::fmt::Display| Unreadable { order_id, column, why: why.to_string() };
        let Core { user_id, item_ids, total_amount, status } =
            Core::read(order_id, row.user_id, &row.item_ids, &row.total_amount, &row.status)?;
        Ok(Self {
            order_id,
            user_id,
            item_ids,
            total_amount,
            currency: optional(row.currency, |code| Currency::stored(&code))
                .map_err(|why| unreadable("currency", &why))?,
            external_id: optional(row.external_id, |id| ExternalId::new(id).ok())
                .map_err(|why| unreadable("external_id", &why))?,
            metadata: optional(row.metadata, |text| serde_json::from_str(&text).map(Metadata::stored).ok())
                .map_err(|why| unreadable("metadata", &why))?
                .unwrap_or_default(),
            status,
            process_after: row.process_after,
            attempt: row.attempt,
            rescues: row.rescues,
            last_error: row.last_error,
            worker_id: Some(row.worker_id).filter(|id| !id.is_nil()).map(WorkerId::from),
            available_at: Some(row.available_at).filter(|_| status == OrderStatus::Pending),
            claimed_at: unless_never(row.claimed_at),
            completed_at: row.completed_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

impl TryFrom<ListedRow> for ListedOrder {
    type Error = Unreadable;

    fn try_from(row: ListedRow) -> Result<Self, Unreadable> {
        let ListedRow { order_id, user_id, item_ids, total_amount, status, created_at, updated_at } = row;
        let order_id = OrderId::from(order_id);
        let Core { user_id, item_ids, total_amount, status } =
            Core::read(order_id, user_id, &item_ids, &total_amount, &status)?;
        Ok(Self { order_id, user_id, item_ids, total_amount, status, created_at, updated_at })
    }
}

/// The time, unless it is `never`.
pub(in crate::store) fn unless_never(at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    Some(at).filter(|at| at.year() < 9999)
}

/// The meaning of the column's value, if it has one.
fn optional<T>(text: Option<String>, read: impl FnOnce(String) -> Option<T>) -> Result<Option<T>, &'static str> {
    text.map(|text| read(text).ok_or("it breaks the column's rules")).transpose()
}
