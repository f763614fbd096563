use std::sync::Arc;

use orders_shared::domain::{IdempotencyKey, NewOrder, Order, Placed, Placement};
use orders_shared::store::weight_bytes;
use poem::web::Data;
use poem_openapi::{ApiResponse, OpenApi};

use super::new_order::{BatchBody, CreateOrder, NewOrderBody};
use super::view::{BatchCreated, FullOrder, OrderCreated};
use crate::app::App;
use crate::edge::{Body, KeyHeader, Limits};
use crate::intake::fingerprint::key_use;
use crate::problems::{Kind, Problem};
use crate::wire::json::Json;
use crate::wire::tags::Tag;

/// The operation that places many orders.
const BATCH: &str = "place_orders";

/// Placing orders.
pub(crate) struct PlaceApi;

#[derive(ApiResponse)]
enum Created {
    /// The order is on disk. It is PENDING until a worker claims it.
    #[oai(status = 201)]
    Order(
        Json<OrderCreated>,
        /// `true` where an earlier request with this key and body placed the order; absent otherwise.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

#[derive(ApiResponse)]
enum OrderPlaced {
    /// The order is on disk, and is shown as it was when it was placed.
    #[oai(status = 201)]
    Order(
        Json<FullOrder>,
        /// The order's own path.
        #[oai(header = "Location")]
        String,
        /// `true` where an earlier request with this key and body placed the order; absent otherwise.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

#[derive(ApiResponse)]
enum BatchPlaced {
    /// All orders are on disk, and are shown as they were when they were placed.
    #[oai(status = 201)]
    Orders(
        Json<BatchCreated>,
        /// `true` where an earlier request with this key and body placed the orders; absent otherwise.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

#[OpenApi]
impl PlaceApi {
    /// Create an order
    ///
    /// Answers once the order is safe on disk; workers process it soon after. `POST /orders` can do more.
    #[oai(path = "/order/create-order", method = "post", operation_id = "create_order", tag = "Tag::FirstRelease")]
    async fn create_order(
        &self,
        /// Makes it safe to send the request again: the same key and body give the same answer, and one order.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
        order: Body<CreateOrder>,
        app: Data<&Arc<App>>,
    ) -> Result<Created, Problem> {
        let (orders, replayed) = place(&app, "create_order", vec![order.0], key.0).await?;
        let order = orders.first().ok_or_else(Problem::internal)?;
        Ok(Created::Order(Json::new(&OrderCreated::new(order.order_id)), replayed))
    }

    /// Place an order
    ///
    /// Answers once the order is safe on disk; workers process it soon after. With an `Idempotency-Key` the request can be
    /// sent again without placing a second order. An `external_id` is unique for ever.
    #[oai(path = "/orders", method = "post", operation_id = "place_order", tag = "Tag::Orders")]
    async fn place_order(
        &self,
        /// Makes it safe to send the request again: the same key and body give the same answer, and one order.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
        order: Body<NewOrderBody>,
        limits: Data<&Limits>,
        app: Data<&Arc<App>>,
    ) -> Result<OrderPlaced, Problem> {
        let orders = vec![order.0];
        limits.reserve(answer_bytes(&orders))?;
        let (orders, replayed) = place(&app, "place_order", orders, key.0).await?;
        let order = orders.into_iter().next().ok_or_else(Problem::internal)?;
        let location = format!("/orders/{}", order.order_id);
        Ok(OrderPlaced::Order(Json::new(&order.into()), location, replayed))
    }

    /// Place many orders
    ///
    /// All of them or none, in one transaction.
    #[oai(path = "/orders/batch", method = "post", operation_id = "place_orders", tag = "Tag::Orders")]
    async fn place_orders(
        &self,
        /// Makes it safe to send the request again: the same key and body give the same answer, and the same orders.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
        orders: Body<BatchBody>,
        limits: Data<&Limits>,
        app: Data<&Arc<App>>,
    ) -> Result<BatchPlaced, Problem> {
        limits.reserve(answer_bytes(&orders.0))?;
        let (orders, replayed) = place(&app, BATCH, orders.0, key.0).await?;
        let created = BatchCreated { orders: orders.into_iter().map(Into::into).collect() };
        Ok(BatchPlaced::Orders(Json::new(&created), replayed))
    }
}

/// Bytes of the answer that shows these orders, at most.
fn answer_bytes(orders: &[NewOrder]) -> usize {
    /// The names of an order's fields, and the values that it does not have yet.
    const FIXED: usize = 600;
    orders.iter().map(|order| FIXED + weight_bytes(order)).sum()
}

/// Places the orders of a request and shows them as they stood then; `Some(true)` where an earlier request placed them.
async fn place(
    app: &App,
    operation: &str,
    orders: Vec<NewOrder>,
    key: Option<IdempotencyKey>,
) -> Result<(Vec<Order>, Option<bool>), Problem> {
    let key = key_use(key, operation, &orders);
    let placement = Placement { orders, key };
    let needs_lookup = placement.needs_lookup();
    let (placed, orders) = app.intake.place(placement).await.map_err(|rejected| rejected.problem(needs_lookup))?;
    match placed {
        Placed::New { created_at } => Ok((orders.into_iter().map(|order| order.placed(created_at)).collect(), None)),
        Placed::Before { order_ids, created_at } => {
            let earlier = orders.into_iter().zip(order_ids).map(|(order, order_id)| NewOrder { order_id, ..order });
            Ok((earlier.map(|order| order.placed(created_at)).collect(), Some(true)))
        }
        Placed::KeyReused => Err(Problem::plain(Kind::IdempotencyKeyReused)),
        Placed::ExternalIdTaken { index, order_id } => {
            let order = if operation == BATCH { format!("/orders/{index}") } else { String::new() };
            Err(Problem::external_id_taken(&format!("{order}/external_id"), order_id))
        }
    }
}
