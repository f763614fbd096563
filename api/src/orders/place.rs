use std::sync::Arc;

use orders_shared::domain::{IdempotencyKey, NewOrder, OneOrMore, Placement};
use orders_shared::store::weight_bytes;
use poem::web::Data;
use poem_openapi::{ApiResponse, OpenApi};

use super::new_order::{BatchBody, CreateOrder, NewOrderBody};
use super::view::{BatchCreated, FullOrder, OrderCreated};
use crate::app::App;
use crate::edge::{Body, KeyHeader, Limits};
use crate::intake::PlacedOrders;
use crate::intake::fingerprint::{PlaceOperation, key_use};
use crate::problems::Problem;
use crate::wire::json::Json;
use crate::wire::tags::Tag;

/// The operations that place orders.
pub(crate) struct PlaceApi;

#[derive(ApiResponse)]
enum Created {
    /// The order is on disk. It is PENDING until a worker claims it.
    #[oai(status = 201)]
    Order(
        Json<OrderCreated>,
        /// `true` if an earlier request with this key and body placed the order; absent otherwise.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

#[derive(ApiResponse)]
enum OrderPlaced {
    /// The order is on disk. The answer shows it as it was when it was placed.
    #[oai(status = 201)]
    Order(
        Json<FullOrder>,
        /// The order's own path.
        #[oai(header = "Location")]
        String,
        /// `true` if an earlier request with this key and body placed the order; absent otherwise.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

#[derive(ApiResponse)]
enum BatchPlaced {
    /// All orders are on disk. The answer shows them as they were when they were placed.
    #[oai(status = 201)]
    Orders(
        Json<BatchCreated>,
        /// `true` if an earlier request with this key and body placed the orders; absent otherwise.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

impl From<PlacedOrders> for Created {
    fn from(placed: PlacedOrders) -> Self {
        Self::Order(Json::new(&placed.orders.first().into()), placed.placed_by.replayed())
    }
}

impl From<PlacedOrders> for OrderPlaced {
    fn from(placed: PlacedOrders) -> Self {
        let order = placed.orders.into_first();
        let location = format!("/orders/{}", order.order_id);
        Self::Order(Json::new(&order.into()), location, placed.placed_by.replayed())
    }
}

impl From<PlacedOrders> for BatchPlaced {
    fn from(placed: PlacedOrders) -> Self {
        let created = BatchCreated { orders: placed.orders.into_iter().map(Into::into).collect() };
        Self::Orders(Json::new(&created), placed.placed_by.replayed())
    }
}

#[OpenApi]
impl PlaceApi {
    /// Create an order
    ///
    /// Answers once the order is safe on disk; workers process it soon after. `POST /orders` can do more.
    #[oai(path = "/order/create-order", method = "post", operation_id = "create_order", tag = "Tag::FirstRelease")]
    async fn create_order(
        &self,
        /// Makes the request safe to repeat: with the same key and body it gives the same answer and places no second
        /// order.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
        order: Body<CreateOrder>,
        app: Data<&Arc<App>>,
    ) -> Result<Created, Problem> {
        let placed = place(&app, PlaceOperation::CreateOrder, OneOrMore::one(order.0), key.0).await?;
        Ok(placed.into())
    }

    /// Place an order
    ///
    /// Answers once the order is safe on disk; workers process it soon after. With an `Idempotency-Key` the request can
    /// be repeated without placing a second order. An `external_id` stays unique for ever.
    #[oai(path = "/orders", method = "post", operation_id = "place_order", tag = "Tag::Orders")]
    async fn place_order(
        &self,
        /// Makes the request safe to repeat: with the same key and body it gives the same answer and places no second
        /// order.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
        order: Body<NewOrderBody>,
        limits: Data<&Limits>,
        app: Data<&Arc<App>>,
    ) -> Result<OrderPlaced, Problem> {
        let orders = OneOrMore::one(order.0);
        limits.reserve(answer_bytes(&orders))?;
        let placed = place(&app, PlaceOperation::PlaceOrder, orders, key.0).await?;
        Ok(placed.into())
    }

    /// Place many orders
    ///
    /// Places all of them or none, in one transaction.
    #[oai(path = "/orders/batch", method = "post", operation_id = "place_orders", tag = "Tag::Orders")]
    async fn place_orders(
        &self,
        /// Makes the request safe to repeat: with the same key and body it gives the same answer and places no second
        /// orders.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
        orders: Body<BatchBody>,
        limits: Data<&Limits>,
        app: Data<&Arc<App>>,
    ) -> Result<BatchPlaced, Problem> {
        limits.reserve(answer_bytes(&orders.0))?;
        let placed = place(&app, PlaceOperation::PlaceOrders, orders.0, key.0).await?;
        Ok(placed.into())
    }
}

/// Upper bound on the bytes of the answer that shows these orders.
fn answer_bytes(orders: &OneOrMore<NewOrder>) -> usize {
    /// The names of an order's fields, and the values that a new order does not have yet.
    const FIXED: usize = 600;
    orders.iter().map(|order| FIXED + weight_bytes(order)).sum()
}

/// Places the orders of a request: nothing but [`PlacedOrders`] can be answered with 201.
async fn place(
    app: &App,
    operation: PlaceOperation,
    orders: OneOrMore<NewOrder>,
    key: Option<IdempotencyKey>,
) -> Result<PlacedOrders, Problem> {
    let key = key_use(key, operation, &orders);
    let placement = Placement { orders, key };
    let needs_lookup = placement.needs_lookup();
    app.intake.place(placement).await.map_err(|rejected| rejected.problem(operation, needs_lookup))
}
