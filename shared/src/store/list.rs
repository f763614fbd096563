use sqlx::MySqlConnection;

use super::row::{OrderRow, order_columns};
use super::{Store, StoreError, row};
use crate::domain::{Order, OrderId, OrderStatus, Page, PageKey};

/// `orders_by_status` read backwards: the orders that wait, the latest due first.
pub(super) const WAITING: &str = concat!(
    "select ",
    order_columns!(),
    r"
    from orders force index (orders_by_status)
    where status = 'PENDING' and available_at <= ? and (available_at < ? or order_id < ?)
    order by available_at desc, order_id desc
    limit ?
    "
);

/// `orders_by_status` read backwards: the orders of one other status, the newest first.
pub(super) const OTHERS: &str = concat!(
    "select ",
    order_columns!(),
    r"
    from orders force index (orders_by_status)
    where status = ? and available_at is null and order_id < ?
    order by order_id desc
    limit ?
    "
);

pub(super) const ONE: &str = concat!("select ", order_columns!(), " from orders where order_id = ?");

impl Store {
    /// The order with this id, if there is one.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn order(&self, order_id: OrderId) -> Result<Option<Order>, StoreError> {
        self.call("read an order", async {
            let mut line = self.line().await?;
            let found = read(&mut line, order_id).await?;
            line.done();
            Ok(found)
        })
        .await
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
                let available_at =
                    start.available_at.or(PageKey::START.available_at).map(|available_at| available_at.naive_utc());
                sqlx::query_as(WAITING).bind(available_at).bind(available_at).bind(start.order_id.uuid()).bind(one_more)
            }
            other => sqlx::query_as(OTHERS).bind(other.name()).bind(start.order_id.uuid()).bind(one_more),
        };
        let rows: Vec<OrderRow> = self
            .call("list orders", async {
                let mut line = self.line().await?;
                let rows = query.fetch_all(&mut *line).await?;
                line.done();
                Ok(rows)
            })
            .await?;
        Ok(row::page(rows, limit.into()))
    }
}

/// One order, on a connection that its caller holds.
pub(super) async fn read(connection: &mut MySqlConnection, order_id: OrderId) -> Result<Option<Order>, sqlx::Error> {
    let found: Option<OrderRow> = sqlx::query_as(ONE).bind(order_id.uuid()).fetch_optional(connection).await?;
    found.map(Order::try_from).transpose().map_err(sqlx::Error::from)
}
