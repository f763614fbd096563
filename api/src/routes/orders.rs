use std::time::Duration;

use orders_shared::domain::{ExternalId, Order, OrderFilter, OrderId, OrderStatus, UserId};
use orders_shared::http::ClientWatch;
use orders_shared::store::{ErrorKind, Store, StoreError};
use poem::http::{HeaderMap, header};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::{ApiResponse, OpenApi};
use uuid::Uuid;

use super::Tag;
use crate::dto::{FullOrder, ListedOrder, OrderPage};
use crate::edge::{Turn, no_room, overloaded};
use crate::ends::Ends;
use crate::memory::{MemoryBudget, PageRoom};
use crate::payload::{Json, Problem, Tagged, Time, cursor};
use crate::problems::Kind;

/// Orders of a page where the caller does not say: of the brief's list, and of the other.
const STATUS_LIMIT_DEFAULT: u16 = 100;
const LIMIT_DEFAULT: u16 = 50;

/// Reading orders. Without a source it only documents itself.
pub(crate) struct OrdersApi {
    pub(crate) source: Option<(Store, Ends, MemoryBudget)>,
}

#[derive(ApiResponse)]
enum Listed {
    /// The orders, newest first.
    #[oai(status = 200)]
    Orders(
        Json<Vec<ListedOrder>>,
        /// The next page: `<…>; rel="next"` (RFC 8288). Absent on the last page.
        #[oai(header = "Link")]
        Option<String>,
    ),
}

#[derive(ApiResponse)]
enum Found {
    /// The order.
    #[oai(status = 200)]
    Order(
        Tagged<FullOrder>,
        /// Changes with the order (RFC 9110, section 8.8.3).
        #[oai(header = "ETag")]
        String,
    ),
    /// The order is still as `If-None-Match` says.
    #[oai(status = 304)]
    Unchanged(
        /// That of the request.
        #[oai(header = "ETag")]
        String,
    ),
}

#[OpenApi]
impl OrdersApi {
    /// List the orders in a status
    ///
    /// The newest first, a page at a time: follow the link in the header `Link` until there is none. A page of large orders is
    /// shorter than its limit. `GET /orders` can do more.
    #[oai(
        path = "/order/status/:status_name",
        method = "get",
        operation_id = "list_orders_by_status",
        tag = "Tag::FirstRelease"
    )]
    async fn list_orders_by_status(
        &self,
        /// PENDING, PROCESSING, COMPLETED, FAILED or CANCELED, in any letter case.
        status_name: Path<String>,
        /// Orders of a page at most: 1 to 1000.
        #[oai(default = "status_limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Where the page begins: taken from the link to it.
        cursor: Query<Option<String>>,
        turn: Data<&Turn>,
    ) -> Result<Listed, Problem> {
        let status = status_named(&status_name.0, "The status name in the path")?;
        let filter = OrderFilter { status: Some(status), ..OrderFilter::default() };
        let after = cursor.0.map(|cursor| cursor::decode(&cursor, &filter).ok_or_else(wrong_cursor)).transpose()?;
        let (store, _, budget) = self.parts()?;
        let (store, room, limit) = (store.clone(), page_room(budget, limit.0).await?, limit.0);
        let (page, room) =
            turn.detached(async move { (store.listed_orders(status, after, limit).await, room) }).await?;
        let page = page.map_err(|error| read_problem(&error))?;
        turn.keep(room.into_room());
        let next = page.next.map(|key| {
            let cursor = cursor::encode(key, &filter);
            format!(r#"</order/status/{status}?limit={limit}&cursor={cursor}>; rel="next""#)
        });
        Ok(Listed::Orders(Json(page.orders.into_iter().map(ListedOrder::from).collect()), next))
    }

    /// List orders
    ///
    /// The newest first, a page at a time: follow `next_cursor`, with the same filters, until it is null. Orders that are
    /// placed meanwhile neither repeat nor hide others. Each page costs the same, wherever it is; therefore a page can come
    /// back short, or empty, while `next_cursor` leads on: where the orders are large (a page ends near 1 MiB), where a status
    /// and a user are asked for together, and where thousands of PENDING orders are listed.
    ///
    /// An order appears when its commit is done, up to some seconds later than its `created_at` says: who asks again and again
    /// with `created_after` lets the times overlap.
    #[oai(path = "/orders", method = "get", operation_id = "list_orders", tag = "Tag::Orders")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list_orders(
        &self,
        /// Only the orders in this status: PENDING, PROCESSING, COMPLETED, FAILED or CANCELED, in any letter case.
        status: Query<Option<String>>,
        /// Only this user's orders.
        #[oai(validator(minimum(value = "1")))]
        user_id: Query<Option<i64>>,
        /// Only the order with the caller's own number.
        #[oai(validator(min_length = 1, max_length = 64))]
        external_id: Query<Option<String>>,
        /// Only orders placed later than this (RFC 3339).
        created_after: Query<Option<Time>>,
        /// Only orders placed earlier than this (RFC 3339).
        created_before: Query<Option<Time>>,
        /// Orders of a page at most: 1 to 200.
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u16>,
        /// Where the page begins: `next_cursor` of the page before.
        cursor: Query<Option<String>>,
        turn: Data<&Turn>,
    ) -> Result<Json<OrderPage>, Problem> {
        let status = status.0.map(|name| status_named(&name, "The parameter `status`")).transpose()?;
        let external_id = external_id.0.map(ExternalId::new).transpose();
        let filter = OrderFilter {
            status,
            user_id: user_id.0.and_then(UserId::new),
            external_id: external_id.map_err(|error| bad_request("The parameter `external_id`", error))?,
            created_after: created_after.0.map(|Time(time)| time),
            created_before: created_before.0.map(|Time(time)| time),
        };
        let after = cursor.0.map(|cursor| cursor::decode(&cursor, &filter).ok_or_else(wrong_cursor)).transpose()?;
        let (store, _, budget) = self.parts()?;
        let (store, room, limit) = (store.clone(), page_room(budget, limit.0).await?, limit.0);
        let read = async move {
            let page = store.orders(&filter, after, limit).await;
            (page, filter, room)
        };
        let (page, filter, room) = turn.detached(read).await?;
        let page = page.map_err(|error| read_problem(&error))?;
        turn.keep(room.into_room());
        Ok(Json(OrderPage {
            orders: page.orders.into_iter().map(FullOrder::from).collect(),
            next_cursor: page.next.map(|key| cursor::encode(key, &filter)),
        }))
    }

    /// Read an order
    ///
    /// With `wait`, the answer comes when the order has reached an end (COMPLETED, FAILED or CANCELED) or the time is up,
    /// whichever is first; it shows the order as it is then. A wait ends early when the caller closes its side of the
    /// connection, or pipelines more than a few requests behind it.
    #[oai(path = "/orders/:order_id", method = "get", operation_id = "get_order", tag = "Tag::Orders")]
    async fn get_order(
        &self,
        /// The order's id.
        order_id: Path<Uuid>,
        /// Seconds to wait for an end at most: 0 to 60.
        #[oai(default, validator(minimum(value = "0"), maximum(value = "60")))]
        wait: Query<u8>,
        headers: &HeaderMap,
        turn: Data<&Turn>,
        client: Data<&ClientWatch>,
    ) -> Result<Found, Problem> {
        let (store, ends, _) = self.parts()?;
        let order_id = OrderId::from(order_id.0);
        let mut order = read(&turn, store, order_id).await?;
        if wait.0 > 0 && !order.status.is_end() {
            // Thousands may wait, and none needs to hold what it will read anew.
            drop(order);
            let limit = Duration::from_secs(wait.0.into());
            let waiter = ends.enter(order_id).ok_or_else(too_many_wait)?;
            let wait = async {
                tokio::select! {
                    () = waiter.wait(limit) => {}
                    () = client.closed() => {}
                }
            };
            turn.aside(limit, wait).await;
            order = read(&turn, store, order_id).await?;
        }
        let tagged = Tagged::new(&FullOrder::from(order))?;
        let etag = tagged.etag();
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        if tagged.is_among(known) { Ok(Found::Unchanged(etag)) } else { Ok(Found::Order(tagged, etag)) }
    }
}

impl OrdersApi {
    fn parts(&self) -> Result<&(Store, Ends, MemoryBudget), Problem> {
        self.source.as_ref().ok_or_else(Problem::internal)
    }
}

/// The room of a page, before anything is read for it.
pub(super) async fn page_room(budget: &MemoryBudget, limit: u16) -> Result<PageRoom, Problem> {
    budget.page(limit).await.ok_or_else(no_room)
}

async fn read(turn: &Turn, store: &Store, order_id: OrderId) -> Result<Order, Problem> {
    let store = store.clone();
    let found = turn.detached(async move { store.order(order_id).await }).await?;
    found.map_err(|error| read_problem(&error))?.ok_or_else(no_such_order)
}

fn status_limit_default() -> u16 {
    STATUS_LIMIT_DEFAULT
}

fn limit_default() -> u16 {
    LIMIT_DEFAULT
}

/// The status of this name in any letter case, wherever a request names one; `what` says where.
fn status_named(name: &str, what: &str) -> Result<OrderStatus, Problem> {
    name.parse().map_err(|error| bad_request(what, error))
}

fn bad_request(what: &str, why: impl std::fmt::Display) -> Problem {
    Problem::new(Kind::InvalidParameter, format!("{what} {why}."))
}

pub(super) fn wrong_cursor() -> Problem {
    let detail = "The parameter `cursor` must be taken as it is from the page before, with the same filters.";
    Problem::new(Kind::InvalidCursor, detail)
}

fn too_many_wait() -> Problem {
    overloaded("Too many requests are waiting for the end of an order. Ask without `wait`, or try again.")
}

pub(super) fn no_such_order() -> Problem {
    Problem::new(Kind::NoSuchOrder, "There is no order with this id.")
}

/// A call of the store that failed, as a problem; its cause goes to the log.
pub(super) fn read_problem(error: &StoreError) -> Problem {
    let problem = match error.kind() {
        ErrorKind::Busy if error.had_no_effect() => {
            overloaded("The database has as much to do as it can bear. Try again.")
        }
        kind if kind.is_passing() => Problem::database_away(),
        _ => Problem::internal(),
    };
    problem.because(error)
}
