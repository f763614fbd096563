use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use orders_shared::domain::{self, Order, OrderResult, WorkerId};
use poem_openapi::Object;
use serde::Serialize;
use uuid::Uuid;

use crate::wire::amount::AmountNumber;
use crate::wire::result::ResultJson;
use crate::wire::status::Status;

/// An order in a list.
#[derive(Object, Serialize)]
pub struct ListedOrder {
    /// The order's id.
    order_id: Uuid,
    /// The user who placed it.
    user_id: i64,
    /// The ordered items: a JSON array, as a string.
    items_id: String,
    /// The price of the order.
    total_amount: AmountNumber,
    /// The order's status.
    status: Status,
    /// When it was placed.
    created_at: DateTime<Utc>,
    /// When its status last changed.
    updated_at: DateTime<Utc>,
}

impl From<domain::ListedOrder> for ListedOrder {
    fn from(order: domain::ListedOrder) -> Self {
        Self {
            order_id: order.order_id.uuid(),
            user_id: order.user_id.get(),
            items_id: order.item_ids.to_string(),
            total_amount: AmountNumber(order.total_amount),
            status: order.status.into(),
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}

/// An order with everything that is known about it.
#[derive(Object, Serialize)]
#[oai(rename = "Order")]
pub struct FullOrder {
    /// The order's id.
    order_id: Uuid,
    /// The user who placed it.
    user_id: i64,
    /// The ordered items.
    item_ids: Vec<i64>,
    /// The price of the order.
    total_amount: AmountNumber,
    /// The currency of the price (ISO 4217); null if the client named none.
    currency: Option<String>,
    /// The client's own id of the order; null if it gave none.
    external_id: Option<String>,
    /// The client's own notes.
    metadata: BTreeMap<String, String>,
    /// The earliest time at which the client wants it processed; null means at once.
    process_after: Option<DateTime<Utc>>,
    /// The order's status.
    status: Status,
    /// While the order is PROCESSING, the number of the current attempt; otherwise the number of attempts made.
    attempt: u16,
    /// How often the order was taken back from a dead worker.
    rescues: u8,
    /// When a worker may claim the order; null unless it is PENDING.
    available_at: Option<DateTime<Utc>>,
    /// The error of the last failed attempt; null if there is none, or if a person has retried the order since.
    last_error: Option<String>,
    /// When it was last claimed; null if it never was.
    claimed_at: Option<DateTime<Utc>>,
    /// The worker that claimed it last; null if none did.
    worker_id: Option<Uuid>,
    /// When it was completed; null if it is not.
    completed_at: Option<DateTime<Utc>>,
    /// When it was placed.
    created_at: DateTime<Utc>,
    /// When its status last changed.
    updated_at: DateTime<Utc>,
    /// What the work on the order produced, such as a tracking number: any JSON value of at most 4,096 bytes. Only
    /// `GET /orders/{order_id}` shows it, and only if there is something.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<ResultJson>,
}

impl FullOrder {
    /// The order with what the work on it produced.
    #[must_use]
    pub fn with_result(order: Order, result: Option<OrderResult>) -> Self {
        Self { result: result.map(ResultJson), ..order.into() }
    }
}

impl From<Order> for FullOrder {
    fn from(order: Order) -> Self {
        Self {
            order_id: order.order_id.uuid(),
            user_id: order.user_id.get(),
            item_ids: order.item_ids.as_slice().to_vec(),
            total_amount: AmountNumber(order.total_amount),
            currency: order.currency.map(|currency| currency.to_string()),
            external_id: order.external_id.map(|external_id| external_id.as_str().to_owned()),
            metadata: order.metadata.into_pairs(),
            status: order.status.into(),
            process_after: order.process_after,
            attempt: order.attempt,
            rescues: order.rescues,
            available_at: order.available_at,
            last_error: order.last_error,
            claimed_at: order.claimed_at,
            worker_id: order.worker_id.map(WorkerId::uuid),
            completed_at: order.completed_at,
            created_at: order.created_at,
            updated_at: order.updated_at,
            result: None,
        }
    }
}

/// A page of orders.
#[derive(Object, Serialize)]
pub struct OrderPage {
    /// The orders, newest first: at most `limit`. A page can have fewer although another page follows.
    pub orders: Vec<FullOrder>,
    /// The `cursor` of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// The orders that a batch placed.
#[derive(Object, Serialize)]
pub struct BatchCreated {
    /// The orders, in the sequence of the request.
    pub orders: Vec<FullOrder>,
}

/// The answer to a new order.
#[derive(Object, Serialize)]
pub struct OrderCreated {
    /// Always 201.
    status: u16,
    /// The new order.
    data: CreatedOrder,
}

/// A new order.
#[derive(Object, Serialize)]
struct CreatedOrder {
    /// The order's id.
    order_id: Uuid,
}

impl From<&Order> for OrderCreated {
    fn from(order: &Order) -> Self {
        Self { status: 201, data: CreatedOrder { order_id: order.order_id.uuid() } }
    }
}
