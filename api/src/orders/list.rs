use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::{ExternalId, Order, OrderFilter, OrderId, OrderResult, OrderStatus, UserId};
use orders_shared::http::ClientWatch;
use orders_shared::store::Store;
use poem::http::{HeaderMap, header};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::{ApiResponse, OpenApi};
use uuid::Uuid;

use super::cursor;
use super::view::{FullOrder, ListedOrder, OrderPage};
use crate::app::App;
use crate::edge::Limits;
use crate::problems::{Kind, Problem};
use crate::wire::json::{Json, names};
use crate::wire::tags::Tag;
use crate::wire::time::Time;

/// Default `limit` of the list by status.
const STATUS_LIMIT_DEFAULT: u16 = 100;

/// Default `limit` of the list of orders.
const LIMIT_DEFAULT: u16 = 50;

/// The operations that read orders.
pub(crate) struct ListApi;

#[derive(ApiResponse)]
enum StatusListAnswer {
    /// The orders, newest first.
    #[oai(status = 200)]
    Orders(
        Json<Vec<ListedOrder>>,
        /// A link to the next page: `<…>; rel="next"` (RFC 8288). Absent on the last page.
        #[oai(header = "Link")]
        Option<String>,
    ),
}

#[derive(ApiResponse)]
enum Found {
    /// The order.
    #[oai(status = 200)]
    Order(
        Json<FullOrder>,
        /// A tag that changes with the order (RFC 9110, section 8.8.3).
        #[oai(header = "ETag")]
        String,
    ),
    /// The order still has the `ETag` that `If-None-Match` names.
    #[oai(status = 304)]
    Unchanged(
        /// The order's current tag.
        #[oai(header = "ETag")]
        String,
    ),
}

#[OpenApi]
impl ListApi {
    /// List the orders in a status
    ///
    /// Lists the newest orders first, a page at a time: follow the link in the header `Link` until there is none. A
    /// page of large orders may be shorter than its limit. `GET /orders` can do more.
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
        /// Maximum number of orders on a page, from 1 to 1000.
        #[oai(default = "status_limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Where the page begins: part of the link in `Link`.
        cursor: Query<Option<String>>,
        limits: Data<&Limits>,
        app: Data<&Arc<App>>,
    ) -> Result<StatusListAnswer, Problem> {
        let status = status_named(&status_name.0, "The status name in the path")?;
        let filter = OrderFilter { status: Some(status), ..OrderFilter::default() };
        let after = cursor.0.map(|cursor| cursor::decode(&cursor, &filter)).transpose()?;
        let limit = limit.0;
        let read = async move |store: Store| store.listed_orders(status, after, limit).await;
        let page = app.page(&limits, limit, read).await?;
        let next = page.next.map(|key| {
            let cursor = cursor::encode(key, &filter);
            format!(r#"</order/status/{status}?limit={limit}&cursor={cursor}>; rel="next""#)
        });
        Ok(StatusListAnswer::Orders(Json::new(&page.orders.into_iter().map(ListedOrder::from).collect()), next))
    }

    /// List orders
    ///
    /// Lists the newest orders first, a page at a time: follow `next_cursor`, with the same filters, until it is null.
    /// Orders that are placed in the meantime neither repeat nor hide others. Every page costs the same, wherever it is
    /// in the list. So a page can be short, or even empty, although `next_cursor` leads on: if the orders are large (a
    /// page ends near 1 MiB), if you filter by status and user together, or if thousands of PENDING orders are listed.
    ///
    /// An order appears once it is committed, up to a few seconds later than its `created_at`. If you poll with
    /// `created_after`, let the time ranges overlap.
    #[oai(path = "/orders", method = "get", operation_id = "list_orders", tag = "Tag::Orders")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list_orders(
        &self,
        /// Only orders in this status: PENDING, PROCESSING, COMPLETED, FAILED or CANCELED, in any letter case.
        status: Query<Option<String>>,
        /// Only this user's orders.
        #[oai(validator(minimum(value = "1")))]
        user_id: Query<Option<i64>>,
        /// Only the order with this external id.
        #[oai(validator(min_length = 1, max_length = 64))]
        external_id: Query<Option<String>>,
        /// Only orders placed after this time (RFC 3339).
        created_after: Query<Option<Time>>,
        /// Only orders placed before this time (RFC 3339).
        created_before: Query<Option<Time>>,
        /// Maximum number of orders on a page, from 1 to 200.
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u16>,
        /// Where the page begins: the `next_cursor` of the previous page.
        cursor: Query<Option<String>>,
        limits: Data<&Limits>,
        app: Data<&Arc<App>>,
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
        let after = cursor.0.map(|cursor| cursor::decode(&cursor, &filter)).transpose()?;
        let limit = limit.0;
        let read = async move |store: Store| Ok((store.orders(&filter, after, limit).await?, filter));
        let (page, filter) = app.page(&limits, limit, read).await?;
        Ok(Json::new(&OrderPage {
            orders: page.orders.into_iter().map(FullOrder::from).collect(),
            next_cursor: page.next.map(|key| cursor::encode(key, &filter)),
        }))
    }

    /// Read an order
    ///
    /// With `wait`, the server answers as soon as the order is COMPLETED, FAILED or CANCELED, or when the time is up;
    /// the answer shows the order as it is then. The wait ends early if the client closes its side of the connection,
    /// or pipelines more than a few requests.
    #[oai(path = "/orders/:order_id", method = "get", operation_id = "get_order", tag = "Tag::Orders")]
    async fn get_order(
        &self,
        /// The order's id.
        order_id: Path<Uuid>,
        /// Maximum seconds to wait until the order is COMPLETED, FAILED or CANCELED, from 0 to 60.
        #[oai(default, validator(minimum(value = "0"), maximum(value = "60")))]
        wait: Query<u8>,
        headers: &HeaderMap,
        client: Data<&ClientWatch>,
        limits: Data<&Limits>,
        app: Data<&Arc<App>>,
    ) -> Result<Found, Problem> {
        let order_id = OrderId::from(order_id.0);
        let mut found = read(&app, order_id).await?;
        if wait.0 > 0 && !found.0.status.is_end() {
            // Thousands may wait, and each will read its order again anyway.
            drop(found);
            let limit = Duration::from_secs(wait.0.into());
            let waiter = app.waiters.enter(order_id).ok_or_else(too_many_wait)?;
            let wait = async {
                tokio::select! {
                    () = waiter.wait(limit) => {}
                    () = client.closed() => {}
                }
            };
            limits.wait(limit, wait).await;
            found = read(&app, order_id).await?;
        }
        let (order, result) = found;
        let order = Json::new(&FullOrder::with_result(order, result));
        let etag = order.etag();
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        if names(known, &etag) { Ok(Found::Unchanged(etag)) } else { Ok(Found::Order(order, etag)) }
    }
}

async fn read(app: &App, order_id: OrderId) -> Result<(Order, Option<OrderResult>), Problem> {
    app.ask(async move |store| store.order_with_result(order_id).await).await?.ok_or_else(Problem::no_such_order)
}

fn status_limit_default() -> u16 {
    STATUS_LIMIT_DEFAULT
}

fn limit_default() -> u16 {
    LIMIT_DEFAULT
}

/// The status with this name, in any letter case. `what` says where the request names it.
fn status_named(name: &str, what: &str) -> Result<OrderStatus, Problem> {
    name.parse().map_err(|error| bad_request(what, error))
}

fn bad_request(what: &str, why: impl std::fmt::Display) -> Problem {
    Problem::new(Kind::InvalidParameter, format!("{what} {why}."))
}

fn too_many_wait() -> Problem {
    Problem::overloaded("Too many requests are waiting for orders to end. Ask without `wait`, or try again.")
}
