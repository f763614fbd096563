use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use orders_shared::domain::{self, Order, OrderId, WorkerId};
use poem_openapi::Object;
use serde::Serialize;
use uuid::Uuid;

use crate::wire::amount::AmountNumber;
use crate::wire::status::Status;

/// An order in a list.
#[derive(Object, Serialize)]
pub struct ListedOrder {
    /// Its id.
    order_id: Uuid,
    /// Who placed it.
    user_id: i64,
    /// What was ordered: a JSON array, as a string.
    items_id: String,
    /// What it costs.
    total_amount: AmountNumber,
    /// Where it stands.
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

/// An order, whole.
#[derive(Object, Serialize)]
#[oai(rename = "Order")]
pub struct FullOrder {
    /// Its id.
    order_id: Uuid,
    /// Who placed it.
    user_id: i64,
    /// What was ordered.
    item_ids: Vec<i64>,
    /// What it costs.
    total_amount: AmountNumber,
    /// In which currency (ISO 4217); null where the caller did not say.
    currency: Option<String>,
    /// The caller's own number of it; null where there is none.
    external_id: Option<String>,
    /// The caller's own notes.
    metadata: BTreeMap<String, String>,
    /// When its client wants it processed at the earliest; null means at once.
    process_after: Option<DateTime<Utc>>,
    /// Where it stands.
    status: Status,
    /// The attempt under way while it is PROCESSING, otherwise the attempts used.
    attempt: u16,
    /// How often it was taken back from a dead worker.
    rescues: u8,
    /// When a worker may claim it; null unless it is PENDING.
    available_at: Option<DateTime<Utc>>,
    /// Why the last attempt that failed did so; null where none did, and once the order is retried by a person.
    last_error: Option<String>,
    /// When it was last claimed; null before.
    claimed_at: Option<DateTime<Utc>>,
    /// The worker that claimed it last; null before.
    worker_id: Option<Uuid>,
    /// When it was completed; null before.
    completed_at: Option<DateTime<Utc>>,
    /// When it was placed.
    created_at: DateTime<Utc>,
    /// When its status last changed.
    updated_at: DateTime<Utc>,
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
        }
    }
}

/// A page of orders.
#[derive(Object, Serialize)]
pub struct OrderPage {
    /// The orders, newest first: `limit` of them at most, and fewer where they are large, while a next page follows.
    pub orders: Vec<FullOrder>,
    /// The next page's `cursor`; null on the last one.
    pub next_cursor: Option<String>,
}

/// The orders of a batch.
#[derive(Object, Serialize)]
pub struct BatchCreated {
    /// The orders, in the order of the request.
    pub orders: Vec<FullOrder>,
}

/// The answer to a new order.
#[derive(Object, Serialize)]
pub struct OrderCreated {
    /// Always 201.
    status: u16,
    /// The order.
    data: CreatedOrder,
}

/// A new order.
#[derive(Object, Serialize)]
struct CreatedOrder {
    /// Its id, from now on.
    order_id: Uuid,
}

impl OrderCreated {
    /// Names the order.
    #[must_use]
    pub fn new(order_id: OrderId) -> Self {
        Self { status: 201, data: CreatedOrder { order_id: order_id.uuid() } }
    }
}
