//! Reading orders: one by its id, or a page of a list.
//!
//! A list is cut by key, not by offset: a page starts right behind the last order of the page before, so that what is
//! placed meanwhile neither repeats nor hides an order. With ten million orders stored, MySQL 9.7 reads 202 index
//! entries and rows for 200 orders on page 1 and on page 10,000, of all orders, of those in a status and of those of a
//! time, and 3 or 4 for one order of a user.
//!
//! Each list has an index that ends in its order, `created_at, order_id`. Two questions have none of their own, since
//! it would be written at each change of status: the orders of one user in one status, and the waiting orders in the
//! order of placing. They look through all orders of the status if those are few, otherwise through a part of the
//! user's orders, or of all.

use sqlx::MySqlConnection;
use uuid::Uuid;

use super::list_plan::ListPlan;
use super::row::{ListedRow, OrderRow, order_columns};
use crate::domain::{ExternalId, ListedOrder, Order, OrderFilter, OrderId, OrderResult, OrderStatus, Page, PageKey};
use crate::store::hot::Hot;
use crate::store::sql::{Value, json_of_ids, orders_by_id, status};
use crate::store::{Store, StoreError};

const WITH_EXTERNAL_ID: &str = concat!(
    "select ",
    order_columns!(),
    " from orders where order_id = (select order_id from external_ids where external_id = ?)"
);

/// The orders of a list of ids that only a person can still change.
const FINAL_AMONG: &str = concat!(
    "select orders.order_id",
    orders_by_id!(),
    "where orders.status not in (",
    status!(Pending),
    ", ",
    status!(Processing),
    ")"
);

const WITH_RESULT: &str = concat!(
    "select ",
    order_columns!(),
    ", (select result from order_results where order_results.order_id = orders.order_id) as result \
     from orders where order_id = ?"
);

const ONE: &str = concat!("select ", order_columns!(), " from orders where order_id = ?");

pub(in crate::store) fn hot_statements(sample: Uuid) -> Vec<Hot> {
    vec![
        Hot::of_one("find an external id", WITH_EXTERNAL_ID, Value::Text(""), "external_ids"),
        Hot::of_one("read an order", ONE, Value::Id(sample), "orders"),
        Hot::of_one("read an order and its result", WITH_RESULT, Value::Id(sample), "orders"),
        Hot::of_batch("see which orders ended", FINAL_AMONG, "orders"),
    ]
}

impl Store {
    /// The order with this id, if there is one.
    pub async fn order(&self, order_id: OrderId) -> Result<Option<Order>, StoreError> {
        self.call("read an order", async |connection| read(connection, order_id).await).await
    }

    /// The order with this id, if there is one, and what the work on it produced, if that was kept.
    pub async fn order_with_result(
        &self,
        order_id: OrderId,
    ) -> Result<Option<(Order, Option<OrderResult>)>, StoreError> {
        self.call("read an order and its result", async |connection| {
            let query = sqlx::query_as(WITH_RESULT).bind(order_id.uuid());
            let found: Option<RowWithResult> = query.fetch_optional(connection).await?;
            let Some(RowWithResult { order, result }) = found else { return Ok(None) };
            Ok(Some((Order::try_from(order)?, result.map(OrderResult::stored))))
        })
        .await
    }

    /// Those of the orders that only a person can still change: COMPLETED, FAILED or CANCELED.
    pub async fn ended(&self, order_ids: &[OrderId]) -> Result<Vec<OrderId>, StoreError> {
        let json = json_of_ids(order_ids.iter().copied());
        self.call("see which orders ended", async |connection| {
            let ended: Vec<Uuid> = sqlx::query_scalar(FINAL_AMONG).bind(json).fetch_all(connection).await?;
            Ok(ended.into_iter().map(OrderId::from).collect())
        })
        .await
    }

    /// One page of the orders that match, newest first, beginning behind `after`: at most `limit` of them, and few more
    /// bytes than [`PAGE_BYTES_MAX`](crate::store::PAGE_BYTES_MAX).
    ///
    /// The cost of a page depends on what it holds, not on where in the list it is. If no index serves all the filters,
    /// a page looks at a bounded number of orders, so it may be short or empty although there is a next page.
    pub async fn orders(&self, filter: &OrderFilter, after: Option<PageKey>, limit: u16) -> Result<Page, StoreError> {
        self.call("list orders", async |connection| match &filter.external_id {
            Some(external_id) => the_one(connection, filter, external_id, after).await,
            None => ListPlan::of(filter, after).read::<OrderRow>(connection, limit).await,
        })
        .await
    }

    /// The same, of the orders in a status, with only the fields that a short list shows.
    pub async fn listed_orders(
        &self,
        status: OrderStatus,
        after: Option<PageKey>,
        limit: u16,
    ) -> Result<Page<ListedOrder>, StoreError> {
        let filter = OrderFilter { status: Some(status), ..OrderFilter::default() };
        let plan = ListPlan::of(&filter, after);
        self.call("list orders in a status", async |connection| plan.read::<ListedRow>(connection, limit).await).await
    }
}

#[derive(Debug, sqlx::FromRow)]
struct RowWithResult {
    #[sqlx(flatten)]
    order: OrderRow,
    result: Option<String>,
}

/// A page of the order with this external id, if it matches the other filters.
async fn the_one(
    connection: &mut MySqlConnection,
    filter: &OrderFilter,
    external_id: &ExternalId,
    after: Option<PageKey>,
) -> Result<Page, sqlx::Error> {
    let query = sqlx::query_as::<_, OrderRow>(WITH_EXTERNAL_ID).bind(external_id.as_str());
    let order = query.fetch_optional(connection).await?.map(Order::try_from).transpose();
    let order = order.inspect_err(|unreadable| tracing::error!(%unreadable, "an order is left out of its list"));
    let order = order.ok().flatten().filter(|order| {
        let place = PageKey { created_at: order.created_at, order_id: order.order_id };
        filter.shows(order) && after.is_none_or(|after| place < after)
    });
    Ok(Page { orders: order.into_iter().collect(), next: None })
}

/// One order, on the caller's connection.
pub(in crate::store) async fn read(
    connection: &mut MySqlConnection,
    order_id: OrderId,
) -> Result<Option<Order>, sqlx::Error> {
    let found: Option<OrderRow> = sqlx::query_as(ONE).bind(order_id.uuid()).fetch_optional(connection).await?;
    found.map(Order::try_from).transpose().map_err(sqlx::Error::from)
}
