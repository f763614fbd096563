use super::row::{OrderRow, order_columns};
use super::{Store, StoreError, row};
use crate::domain::{Order, OrderId, OrderStatus, Page, PageKey};

/// `orders_by_status` read backwards: the orders that wait, the latest due first.
const WAITING: &str = concat!(
    "select ",
    order_columns!(),
    r"
    from orders force index (orders_by_status)
    where status = 'PENDING' and due_at <= ? and (due_at < ? or order_id < ?)
    order by due_at desc, order_id desc
    limit ?
    "
);

/// `orders_by_status` read backwards: the orders of one other status, the newest first.
const OTHERS: &str = concat!(
    "select ",
    order_columns!(),
    r"
    from orders force index (orders_by_status)
    where status = ? and due_at is null and order_id < ?
    order by order_id desc
    limit ?
    "
);

const ONE: &str = concat!("select ", order_columns!(), " from orders where order_id = ?");

impl Store {
    /// The order with this id, if there is one.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn order(&self, order_id: OrderId) -> Result<Option<Order>, StoreError> {
        let found: Option<OrderRow> = sqlx::query_as(ONE)
            .bind(order_id.uuid())
            .fetch_optional(&self.pool)
            .await
            .map_err(StoreError::when("read an order"))?;
        found.map(Order::try_from).transpose().map_err(StoreError::when("read an order"))
    }

    /// One page of the orders in a status, `limit` of them at most, going on behind `after`.
    ///
    /// Newest first; among the PENDING ones that is the latest due. Each page costs what it holds, wherever it is.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn orders_by_status(
        &self,
        status: OrderStatus,
        after: Option<PageKey>,
        limit: u16,
    ) -> Result<Page, StoreError> {
        let start = after.unwrap_or(PageKey::START);
        let one_more = u32::from(limit) + 1;
        let query = match status {
            OrderStatus::Pending => {
                // As a DATETIME: bound as a TIMESTAMP, which ends in 2038, the far end of the list would be no time.
                let due_at = start.due_at.or(PageKey::START.due_at).map(|due_at| due_at.naive_utc());
                sqlx::query_as(WAITING).bind(due_at).bind(due_at).bind(start.order_id.uuid()).bind(one_more)
            }
            other => sqlx::query_as(OTHERS).bind(other.name()).bind(start.order_id.uuid()).bind(one_more),
        };
        let rows: Vec<OrderRow> = query.fetch_all(&self.pool).await.map_err(StoreError::when("list orders"))?;
        let orders = row::orders(rows).map_err(StoreError::when("list orders"))?;
        Ok(Page::of(orders, limit.into()))
    }
}
