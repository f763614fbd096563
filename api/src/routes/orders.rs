use orders_shared::domain::{OrderId, OrderStatus, PageKey};
use orders_shared::store::{Store, StoreError};
use poem::http::StatusCode;
use poem_openapi::param::{Path, Query};
use poem_openapi::{ApiResponse, OpenApi, Tags};
use uuid::Uuid;

use crate::dto::{CreateOrder, FullOrder, ListedOrder, OrderCreated};
use crate::intake::{Intake, Refused};
use crate::payload::{Body, Json, Problem};

/// Orders of a page where the caller does not say.
const LIMIT_DEFAULT: u16 = 100;

/// Orders of a page at most.
const LIMIT_MAX: u16 = 1_000;

/// Creating and reading orders. Without a store it only documents itself.
pub(crate) struct OrdersApi {
    pub(crate) store: Option<(Store, Intake)>,
}

#[derive(Tags)]
enum Tag {
    /// Create orders and follow them.
    Orders,
}

#[derive(ApiResponse)]
enum Created {
    /// The order is on disk. It is PENDING until a worker claims it.
    #[oai(status = 201)]
    Order(Json<OrderCreated>),
}

#[derive(ApiResponse)]
enum Listed {
    /// The orders, newest first; among PENDING ones the latest due first.
    #[oai(status = 200)]
    Orders(
        Json<Vec<ListedOrder>>,
        /// The next page: `<…>; rel="next"` (RFC 8288). Absent on the last page.
        #[oai(header = "Link")]
        Option<String>,
    ),
}

#[OpenApi(tag = "Tag::Orders")]
impl OrdersApi {
    /// Create an order
    ///
    /// Answers once the order is safe on disk; workers process it soon after.
    #[oai(path = "/order/create-order", method = "post", operation_id = "create_order")]
    async fn create_order(&self, order: Body<CreateOrder>) -> Result<Created, Problem> {
        let Body(order) = order;
        let order_id = order.order_id;
        self.parts()?.1.place(order).await.map_err(|refused| match refused {
            Refused::Full => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too many orders wait to be written. Try again.")
            }
            Refused::DatabaseAway => Problem::database_away(),
            Refused::Broken => Problem::internal(),
        })?;
        Ok(Created::Order(Json(OrderCreated::new(order_id))))
    }

    /// List the orders in a status
    ///
    /// The newest first, a page at a time.
    #[oai(path = "/order/status/:status_name", method = "get", operation_id = "list_orders_by_status")]
    async fn list_orders_by_status(
        &self,
        /// PENDING, PROCESSING, COMPLETED, FAILED or CANCELED, in any letter case.
        status_name: Path<String>,
        /// Orders of a page: 1 to 1000.
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Where the page begins: taken from the link to it.
        cursor: Query<Option<String>>,
    ) -> Result<Listed, Problem> {
        let bad_request =
            |what: &str, why: &dyn std::fmt::Display| Problem::new(StatusCode::BAD_REQUEST, format!("{what} {why}"));
        let status: OrderStatus =
            status_name.0.parse().map_err(|error| bad_request("The status name in the path", &error))?;
        let after: Option<PageKey> = cursor
            .0
            .map(|cursor| cursor.parse())
            .transpose()
            .map_err(|error| bad_request("The parameter `cursor`", &error))?;
        let limit = limit.0.clamp(1, LIMIT_MAX);
        let page =
            self.parts()?.0.orders_by_status(status, after, limit).await.map_err(|error| read_problem(&error))?;
        let next = page.next.map(|key| format!(r#"</order/status/{status}?limit={limit}&cursor={key}>; rel="next""#));
        Ok(Listed::Orders(Json(page.orders.into_iter().map(ListedOrder::from).collect()), next))
    }

    /// Read an order
    #[oai(path = "/orders/:order_id", method = "get", operation_id = "get_order")]
    async fn get_order(
        &self,
        /// The order's id.
        order_id: Path<Uuid>,
    ) -> Result<Json<FullOrder>, Problem> {
        let found = self.parts()?.0.order(OrderId::from(order_id.0)).await.map_err(|error| read_problem(&error))?;
        let order = found.ok_or_else(no_such_order)?;
        Ok(Json(order.into()))
    }
}

impl OrdersApi {
    fn parts(&self) -> Result<&(Store, Intake), Problem> {
        self.store.as_ref().ok_or_else(Problem::internal)
    }
}

fn limit_default() -> u16 {
    LIMIT_DEFAULT
}

pub(super) fn no_such_order() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is no order with this id.")
}

/// A read that failed, as a problem; its cause goes to the log.
pub(super) fn read_problem(error: &StoreError) -> Problem {
    let passing = error.is_passing();
    tracing::warn!(error = error as &dyn std::error::Error, "a request failed");
    if passing { Problem::database_away() } else { Problem::internal() }
}
