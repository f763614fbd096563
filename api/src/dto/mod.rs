//! Shapes of bodies and answers. Meaning is the domain's.

mod control;

use chrono::{DateTime, Datelike, Timelike, Utc};
use orders_shared::domain::{Amount, AmountError, ItemIds, ItemIdsError, NewOrder, Order, OrderId, UserId, WorkerId};
use poem_openapi::{Enum, Object};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

pub(crate) use self::control::{Explanation, PauseState, QueueState, Story};
use crate::payload::{AmountNumber, Fields, Shape};

/// An order to create.
#[derive(Object)]
#[oai(example)]
pub(crate) struct CreateOrder {
    /// Who places the order.
    #[oai(validator(minimum(value = "1")))]
    user_id: i64,
    /// What is ordered, in any order; a number may stand several times.
    #[oai(validator(min_items = 1, max_items = 1000))]
    item_ids: Vec<i64>,
    /// What it costs.
    total_amount: AmountNumber,
    /// When a worker may process the order at the earliest (RFC 3339); at once where it is missing or null.
    process_after: Option<DateTime<Utc>>,
}

impl poem_openapi::types::Example for CreateOrder {
    fn example() -> Self {
        Self { user_id: 1, item_ids: vec![1, 2], total_amount: hundred(), process_after: None }
    }
}

fn hundred() -> AmountNumber {
    AmountNumber("100.0".parse().unwrap_or(Amount::MAX))
}

impl Shape for CreateOrder {
    type Meaning = NewOrder;

    fn read(fields: &mut Fields<'_>) -> Option<NewOrder> {
        let user_id = fields.required("user_id", read_user_id);
        let item_ids = fields.required("item_ids", read_item_ids);
        let total_amount = fields.required("total_amount", read_amount);
        let process_after = fields.optional("process_after", read_time);
        Some(NewOrder {
            order_id: OrderId::new(),
            user_id: user_id?,
            item_ids: item_ids?,
            total_amount: total_amount?,
            process_after,
        })
    }
}

fn read_user_id(fields: &mut Fields<'_>, pointer: &str, value: &RawValue) -> Option<UserId> {
    let user_id = UserId::new(fields.integer(pointer, value)?);
    if user_id.is_none() {
        fields.fault(pointer, "too_small", "must be at least 1");
    }
    user_id
}

fn read_item_ids(fields: &mut Fields<'_>, pointer: &str, value: &RawValue) -> Option<ItemIds> {
    let Ok(entries) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
        fields.fault(pointer, "not_an_array", "must be an array of integers");
        return None;
    };
    if entries.len() > ItemIds::MAX {
        fields.fault(pointer, "too_many", ItemIdsError::TooMany);
        return None;
    }
    let mut ids = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let pointer = format_args!("{pointer}/{index}").to_string();
        match fields.integer(&pointer, entry) {
            Some(id) if id < 1 => fields.fault(pointer, "too_small", ItemIdsError::BelowOne(index)),
            Some(id) => ids.push(id),
            None => {}
        }
    }
    if ids.len() < entries.len() {
        return None;
    }
    ItemIds::new(ids).map_err(|error| fields.fault(pointer, "too_few", error)).ok()
}

fn read_amount(fields: &mut Fields<'_>, pointer: &str, value: &RawValue) -> Option<Amount> {
    value.get().parse().map_err(|error: AmountError| fields.fault(pointer, error.code(), error)).ok()
}

/// A time of RFC 3339 from 1970 to 9999: what the column holds.
fn read_time(fields: &mut Fields<'_>, pointer: &str, value: &RawValue) -> Option<DateTime<Utc>> {
    let text: Result<String, _> = serde_json::from_str(value.get());
    let time = text.ok().and_then(|text| DateTime::parse_from_rfc3339(&text).ok()).map(DateTime::<Utc>::from);
    let Some(time) = time else {
        fields.fault(pointer, "not_a_time", "must be a time of RFC 3339, such as 2030-01-31T08:00:00Z");
        return None;
    };
    // A leap second (…:60) is no time that the column can hold.
    if (1970..=9999).contains(&time.year()) && time.nanosecond() < 1_000_000_000 {
        return Some(time);
    }
    fields.fault(pointer, "out_of_range", "must be from 1970 to 9999, and no leap second");
    None
}

/// The answer to a new order.
#[derive(Object, Serialize)]
pub(crate) struct OrderCreated {
    /// Always 201.
    status: u16,
    /// The order.
    data: CreatedOrder,
}

/// A new order.
#[derive(Object, Serialize)]
pub(crate) struct CreatedOrder {
    /// Its id, from now on.
    order_id: Uuid,
}

impl OrderCreated {
    pub(crate) fn new(order_id: OrderId) -> Self {
        Self { status: 201, data: CreatedOrder { order_id: order_id.uuid() } }
    }
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, Enum, Serialize)]
#[oai(rename_all = "UPPERCASE", rename = "OrderStatus")]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Status {
    /// Waits in the queue.
    Pending,
    /// A worker has claimed it.
    Processing,
    /// Done.
    Completed,
    /// Could not be done.
    Failed,
    /// Taken back.
    Canceled,
}

impl From<orders_shared::domain::OrderStatus> for Status {
    fn from(status: orders_shared::domain::OrderStatus) -> Self {
        use orders_shared::domain::OrderStatus;
        match status {
            OrderStatus::Pending => Self::Pending,
            OrderStatus::Processing => Self::Processing,
            OrderStatus::Completed => Self::Completed,
            OrderStatus::Failed => Self::Failed,
            OrderStatus::Canceled => Self::Canceled,
        }
    }
}

/// An order in a list.
#[derive(Object, Serialize)]
pub(crate) struct ListedOrder {
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

impl From<Order> for ListedOrder {
    fn from(order: Order) -> Self {
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
pub(crate) struct FullOrder {
    /// Its id.
    order_id: Uuid,
    /// Who placed it.
    user_id: i64,
    /// What was ordered.
    item_ids: Vec<i64>,
    /// What it costs.
    total_amount: AmountNumber,
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
    /// Why the last attempt that failed did so; null where none did.
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

/// The report on the orders. The keys are the old program's, to the letter.
#[derive(Object, Serialize)]
pub(crate) struct Report {
    /// The figures, all of one moment.
    pub(crate) data: ReportData,
}

/// The figures of the report.
#[derive(Object, Serialize)]
pub(crate) struct ReportData {
    /// Orders completed.
    #[oai(rename = "Total orders processed")]
    #[serde(rename = "Total orders processed")]
    pub(crate) total: u64,
    /// Orders that wait.
    #[oai(rename = "Pending orders:")]
    #[serde(rename = "Pending orders:")]
    pub(crate) pending: u64,
    /// Orders completed.
    #[oai(rename = "Completed orders:")]
    #[serde(rename = "Completed orders:")]
    pub(crate) completed: u64,
    /// Orders claimed.
    #[oai(rename = "Processing orders:")]
    #[serde(rename = "Processing orders:")]
    pub(crate) processing: u64,
    /// Mean seconds from creation to completion.
    #[oai(rename = "Average processing time:")]
    #[serde(rename = "Average processing time:")]
    pub(crate) average_secs: f64,
}
