use orders_shared::domain::{IdempotencyKey, NewOrder, Order, Placed, Placement};
use orders_shared::store::weight_bytes;
use poem::web::Data;
use poem_openapi::{ApiResponse, OpenApi};

use super::Tag;
use crate::dto::{BatchBody, BatchCreated, CreateOrder, FullOrder, NewOrderBody, OrderCreated};
use crate::edge::{SMALL, Turn, overloaded};
use crate::idempotency::key_use;
use crate::intake::{Intake, Refused};
use crate::memory::{MemoryBudget, Room};
use crate::payload::{Body, Json, KeyHeader, Problem};
use crate::problems::Kind;

/// The operation that places many orders.
const BATCH: &str = "place_orders";

/// Placing orders. Without a source it only documents itself.
pub(crate) struct CreateApi {
    pub(crate) source: Option<(Intake, MemoryBudget)>,
}

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
impl CreateApi {
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
    ) -> Result<Created, Problem> {
        let Body(order) = order;
        let order_id = order.order_id;
        let (placed, _) = self.place("create_order", vec![order], key.0).await?;
        match placed {
            Placed::Before { order_ids, .. } => {
                let first = order_ids.first().copied().unwrap_or(order_id);
                Ok(Created::Order(Json(OrderCreated::new(first)), Some(true)))
            }
            _ => Ok(Created::Order(Json(OrderCreated::new(order_id)), None)),
        }
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
        turn: Data<&Turn>,
    ) -> Result<OrderPlaced, Problem> {
        let Body(order) = order;
        let orders = vec![order];
        let room = self.room_for_answer(&orders)?;
        let (placed, orders) = self.place("place_order", orders, key.0).await?;
        if let Some(room) = room {
            turn.keep(room);
        }
        let (orders, replayed) = as_placed(orders, placed);
        let order = orders.into_iter().next().ok_or_else(Problem::internal)?;
        let location = format!("/orders/{}", order.order_id);
        Ok(OrderPlaced::Order(Json(order.into()), location, replayed))
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
        turn: Data<&Turn>,
    ) -> Result<BatchPlaced, Problem> {
        let Body(orders) = orders;
        let room = self.room_for_answer(&orders)?;
        let (placed, orders) = self.place(BATCH, orders, key.0).await?;
        if let Some(room) = room {
            turn.keep(room);
        }
        let (orders, replayed) = as_placed(orders, placed);
        Ok(BatchPlaced::Orders(Json(BatchCreated { orders: orders.into_iter().map(Into::into).collect() }), replayed))
    }
}

impl CreateApi {
    /// Room for the answer that shows these orders, where it is not small. Taken before they are placed, since afterwards they must
    /// be answered; from the share of bodies, so that no reader can be in the way.
    fn room_for_answer(&self, orders: &[NewOrder]) -> Result<Option<Room>, Problem> {
        /// The names of an order's fields, and the values that it does not have yet.
        const FIXED: usize = 600;
        let (_, budget) = self.source.as_ref().ok_or_else(Problem::internal)?;
        let bytes: usize = orders.iter().map(|order| FIXED + weight_bytes(order)).sum();
        if bytes <= SMALL {
            return Ok(None);
        }
        let room = budget.bodies().take(bytes);
        room.map(Some).ok_or_else(|| overloaded("Too many large answers are being read. Try again."))
    }

    async fn place(
        &self,
        operation: &str,
        orders: Vec<NewOrder>,
        key: Option<IdempotencyKey>,
    ) -> Result<(Placed, Vec<NewOrder>), Problem> {
        let (intake, _) = self.source.as_ref().ok_or_else(Problem::internal)?;
        let key = key_use(key, operation, &orders);
        let placement = Placement { orders, key };
        let needs_lookup = placement.needs_lookup();
        let (placed, orders) = intake.place(placement).await.map_err(|why| refused(why, needs_lookup))?;
        match placed {
            Placed::KeyReused => Err(key_reused()),
            Placed::ExternalIdTaken { index, order_id } => {
                let order = if operation == BATCH { format!("/orders/{index}") } else { String::new() };
                Err(Problem::external_id_taken(format!("{order}/external_id"), order_id))
            }
            placed => Ok((placed, orders)),
        }
    }
}

/// The orders of a request as they stood when they were placed, and whether that was by an earlier request.
fn as_placed(orders: Vec<NewOrder>, placed: Placed) -> (Vec<Order>, Option<bool>) {
    match placed {
        Placed::Before { order_ids, created_at } => {
            let earlier = orders.into_iter().zip(order_ids).map(|(order, order_id)| NewOrder { order_id, ..order });
            (earlier.map(|order| order.placed(created_at)).collect(), Some(true))
        }
        Placed::New { created_at } => (orders.into_iter().map(|order| order.placed(created_at)).collect(), None),
        Placed::KeyReused | Placed::ExternalIdTaken { .. } => (Vec::new(), None),
    }
}

/// `needs_lookup`: whether the request may have waited for another one.
fn refused(refused: Refused, needs_lookup: bool) -> Problem {
    match refused {
        Refused::Full => Problem::new(Kind::Overloaded, "Too many orders wait to be written. Try again."),
        Refused::Locked if needs_lookup => {
            Problem::new(Kind::RequestInProgress, Kind::RequestInProgress.facts().example).because(&refused)
        }
        Refused::Locked | Refused::DatabaseAway => Problem::database_away().because(&refused),
        Refused::TooLarge(bytes_max) => {
            let detail = format!(
                "The database accepts {bytes_max} bytes at once, and these orders take more there. Nothing was placed: \
                 send fewer at once, with less metadata."
            );
            Problem::new(Kind::BodyTooLarge, detail).because(&refused)
        }
        Refused::Broken => Problem::internal().because(&refused),
    }
}

fn key_reused() -> Problem {
    let detail = "This Idempotency-Key was sent before with another body, or to another operation. Nothing was placed: \
                  send the request as it was, or with a new key.";
    Problem::new(Kind::IdempotencyKeyReused, detail)
}
