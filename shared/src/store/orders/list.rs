//! Orders read: one by its id, or a page of a list. Each page costs what it holds, wherever it is.
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

use chrono::{DateTime, Utc};
use sqlx::MySqlConnection;
use uuid::Uuid;

use super::page::{ListRow, Span};
use super::page_sql::{END_OF_USERS_WALK, END_OF_WALK};
use super::row::{ListedRow, OrderRow, order_columns};
use crate::domain::{ExternalId, ListedOrder, Order, OrderFilter, OrderId, OrderStatus, Page, PageKey, UserId};
use crate::store::sql::{json_of_ids, orders_by_id};
use crate::store::{Store, StoreError};

/// Orders that are read for one page at most, where no index knows all that the page asks for. More would make such a page
/// dearer than another, fewer would make more pages come back short.
const WALK_MAX: u32 = 5_000;

pub(in crate::store) const COUNT_UP_TO: &str = r"
    select count(*)
    from (select 1 from orders force index (orders_by_status) where listed_as = ? limit ?) as counted
";

pub(in crate::store) const WITH_EXTERNAL_ID: &str = concat!(
    "select ",
    order_columns!(),
    " from orders where order_id = (select order_id from external_ids where external_id = ?)"
);

/// Those of a list with which nothing more will happen by itself.
pub(in crate::store) const FINAL_AMONG: &str =
    concat!("select orders.order_id", orders_by_id!(), "where orders.status in ('COMPLETED', 'FAILED', 'CANCELED')");

pub(in crate::store) const ONE: &str = concat!("select ", order_columns!(), " from orders where order_id = ?");

impl Store {
    /// The order with this id, if there is one.
    pub async fn order(&self, order_id: OrderId) -> Result<Option<Order>, StoreError> {
        self.call("read an order", async |connection| read(connection, order_id).await).await
    }

    /// Those of the orders with which nothing more will happen by itself: COMPLETED, FAILED or CANCELED.
    pub async fn ended(&self, order_ids: &[OrderId]) -> Result<Vec<OrderId>, StoreError> {
        let json = json_of_ids(order_ids.iter().copied());
        self.call("see which orders ended", async |connection| {
            let ended: Vec<Uuid> = sqlx::query_scalar(FINAL_AMONG).bind(json).fetch_all(connection).await?;
            Ok(ended.into_iter().map(OrderId::from).collect())
        })
        .await
    }

    /// One page of the orders that match, newest first: `limit` of them at most, and few more bytes than
    /// [`PAGE_BYTES_MAX`](crate::store::PAGE_BYTES_MAX), going on behind `after`.
    ///
    /// Each page costs what it holds, wherever it is. Where no index knows all that is asked for, a bounded number of orders
    /// is looked through, so that a page may come back short, or empty, with a next page all the same.
    pub async fn orders(&self, filter: &OrderFilter, after: Option<PageKey>, limit: u16) -> Result<Page, StoreError> {
        self.call("list orders", async |connection| match &filter.external_id {
            Some(external_id) => the_one(connection, filter, external_id, after).await,
            None => page::<OrderRow>(connection, filter, after, limit).await,
        })
        .await
    }

    /// The same, of the orders in a status, with what a short list shows of them.
    pub async fn listed_orders(
        &self,
        status: OrderStatus,
        after: Option<PageKey>,
        limit: u16,
    ) -> Result<Page<ListedOrder>, StoreError> {
        let filter = OrderFilter { status: Some(status), ..OrderFilter::default() };
        self.call("list orders in a status", async |connection| {
            page::<ListedRow>(connection, &filter, after, limit).await
        })
        .await
    }
}

async fn page<R: ListRow>(
    connection: &mut MySqlConnection,
    filter: &OrderFilter,
    after: Option<PageKey>,
    limit: u16,
) -> Result<Page<R::Order>, sqlx::Error> {
    let (from, to) = filter.bounds(after);
    let span = Span { from, to };
    let user_id = filter.user_id.map(UserId::get);
    let name = filter.status.map(OrderStatus::name);
    match filter.status {
        Some(OrderStatus::Pending) if are_few(connection, OrderStatus::Pending).await? => {
            let query = || match user_id {
                None => sqlx::query_as(R::QUERIES.waiting),
                Some(user_id) => sqlx::query_as(R::QUERIES.users_waiting).bind(user_id),
            };
            return span.read::<R>(connection, limit, query).await;
        }
        Some(OrderStatus::Processing) => {
            let query = || sqlx::query_as(R::QUERIES.in_work).bind(user_id).bind(user_id);
            return span.read::<R>(connection, limit, query).await;
        }
        Some(status)
            if status != OrderStatus::Pending && (user_id.is_none() || are_few(connection, status).await?) =>
        {
            let query = || sqlx::query_as(R::QUERIES.in_status).bind(user_id).bind(user_id).bind(name).bind(name);
            return span.read::<R>(connection, limit, query).await;
        }
        _ => {}
    }
    let end = if filter.status.is_some() { end_of_walk(connection, user_id, span).await? } else { None };
    let span = Span { to: end.unwrap_or(to), ..span };
    let query = || match user_id {
        None => sqlx::query_as(R::QUERIES.newest).bind(name).bind(name),
        Some(user_id) => sqlx::query_as(R::QUERIES.of_user).bind(name).bind(name).bind(user_id),
    };
    let page = span.read::<R>(connection, limit, query).await?;
    Ok(Page { next: page.next.or(end), ..page })
}

/// Whether there are few enough orders in a status to look through all of them.
async fn are_few(connection: &mut MySqlConnection, status: OrderStatus) -> Result<bool, sqlx::Error> {
    let count: i64 =
        sqlx::query_scalar(COUNT_UP_TO).bind(status.name()).bind(WALK_MAX + 1).fetch_one(connection).await?;
    Ok(count <= i64::from(WALK_MAX))
}

/// The last order that the page may look at; `None` when it may look at all that there are.
async fn end_of_walk(
    connection: &mut MySqlConnection,
    user_id: Option<i64>,
    span: Span,
) -> Result<Option<PageKey>, sqlx::Error> {
    let query = sqlx::query_as(if user_id.is_some() { END_OF_USERS_WALK } else { END_OF_WALK });
    let query = if user_id.is_some() { query.bind(user_id) } else { query };
    let end: Option<(DateTime<Utc>, Uuid)> = span.bind(query, WALK_MAX - 1).fetch_optional(connection).await?;
    Ok(end.map(|(created_at, order_id)| PageKey { created_at, order_id: order_id.into() }))
}

/// The order with this external id as a page, if it matches all else.
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

/// One order, on a connection that its caller holds.
pub(in crate::store) async fn read(
    connection: &mut MySqlConnection,
    order_id: OrderId,
) -> Result<Option<Order>, sqlx::Error> {
    let found: Option<OrderRow> = sqlx::query_as(ONE).bind(order_id.uuid()).fetch_optional(connection).await?;
    found.map(Order::try_from).transpose().map_err(sqlx::Error::from)
}
