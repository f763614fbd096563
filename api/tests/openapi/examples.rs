//! Answers as the server would write them: the story of one order.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use orders_shared::domain::{
    self, Breaker, BreakerState, Event, EventKind, ItemIds, LiveWorker, Metadata, Order, OrderCounts, OrderFilter,
    OrderId, OrderResult, OrderStatus, PageKey, ProcessorKind, Queue, Situation, UserId, WorkerId,
};
use orders_shared::version::Version;
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

use orders_api::document::{
    BatchCreated, Explanation, FullOrder, ListedOrder, OrderCreated, OrderPage, PauseState, QueueState, Report, Story,
    cursor,
};

/// The order of all examples.
pub(super) const ORDER_ID: Uuid = uuid!("01ab01f4-3c00-7a52-9d1e-6f0c2b8e4d71");

const WORKER_ID: Uuid = uuid!("01ab01ee-be20-7c08-a5b3-2d9f7e61c840");

/// Whatever this build is, so that the document does not change with every commit.
const VERSION: Version = Version::new(env!("CARGO_PKG_VERSION"), Some("3f2a9c1d"));

/// The answer of each operation that answers with JSON, by its id.
///
/// # Errors
///
/// If an order cannot have one of the values below.
pub(super) fn answers() -> anyhow::Result<Vec<(&'static str, Value)>> {
    let order = completed()?;
    let placed = waiting(&order);
    let failed_once = Order {
        attempt: 1,
        last_error: Some("the payment service does not answer".to_owned()),
        available_at: Some(at(4_250)),
        ..placed.clone()
    };
    let canceled = Order { status: OrderStatus::Canceled, available_at: None, updated_at: at(9_000), ..placed.clone() };
    let retried = Order {
        available_at: Some(at(60_000)),
        claimed_at: order.claimed_at,
        worker_id: order.worker_id,
        updated_at: at(60_000),
        ..placed.clone()
    };
    let next_cursor = Some(next_cursor(&order));
    let written = |answer: Result<Value, serde_json::Error>| answer.context("an example cannot be written");
    let result = OrderResult::of(&json!({ "tracking_number": "1Z999AA10123456784" }))?;
    Ok(vec![
        ("create_order", written(serde_json::to_value(OrderCreated::from(&placed)))?),
        ("place_order", written(serde_json::to_value(FullOrder::from(placed.clone())))?),
        ("place_orders", written(serde_json::to_value(BatchCreated { orders: vec![placed.clone().into()] }))?),
        ("list_orders", written(serde_json::to_value(OrderPage { orders: vec![order.clone().into()], next_cursor }))?),
        (
            "list_orders_by_status",
            written(serde_json::to_value([ListedOrder::from(domain::ListedOrder::from(order.clone()))]))?,
        ),
        ("get_order", written(serde_json::to_value(FullOrder::with_result(order.clone(), Some(result))))?),
        ("cancel_order", written(serde_json::to_value(FullOrder::from(canceled)))?),
        ("retry_order", written(serde_json::to_value(FullOrder::from(retried)))?),
        ("list_order_events", written(serde_json::to_value(story(&order)))?),
        ("explain_order", written(serde_json::to_value(Explanation::new(failed_once, situation())))?),
        ("get_queue", written(serde_json::to_value(QueueState::new(queue(&placed), VERSION)))?),
        ("pause_queue", written(serde_json::to_value(PauseState::new(Some(at(0)))))?),
        ("resume_queue", written(serde_json::to_value(PauseState::new(None)))?),
        ("report", written(serde_json::to_value(Report::from(&counts())))?),
    ])
}

/// A body for each operation that takes one, by the name of its schema.
pub(super) fn bodies() -> [(&'static str, Value); 4] {
    // No external id: everybody tries the example, and a second order with the same id would be rejected.
    let order = json!({
        "user_id": 1, "item_ids": [1, 2], "total_amount": 129.9, "currency": "EUR", "external_id": null,
        "metadata": {"channel": "web"}, "process_after": null,
    });
    [
        ("CreateOrder", json!({"user_id": 1, "item_ids": [1, 2], "total_amount": 100.0, "process_after": null})),
        ("OrderBatchRequest", json!({"orders": [order, order]})),
        ("OrderRequest", order),
        ("RetryOrder", json!({"force": true})),
    ]
}

/// A value for each required parameter, by its name. Others have none, as the page would send it unasked.
pub(super) fn parameters() -> Vec<(&'static str, Value)> {
    vec![("order_id", json!(ORDER_ID)), ("status_name", json!(OrderStatus::Completed.name()))]
}

/// Milliseconds after the order was placed.
fn at(millis: i64) -> DateTime<Utc> {
    let monday = DateTime::from_timestamp(1_795_420_800, 0).unwrap_or_default();
    monday + TimeDelta::milliseconds(millis)
}

/// The position after an order in the list of all orders.
fn next_cursor(order: &Order) -> String {
    let key = PageKey { created_at: order.created_at, order_id: order.order_id };
    cursor(key, &OrderFilter::default())
}

fn completed() -> anyhow::Result<Order> {
    let mut metadata = Metadata::default();
    metadata.insert("channel".to_owned(), "web".to_owned())?;
    Ok(Order {
        order_id: OrderId::from(ORDER_ID),
        user_id: UserId::new(1).context("no user")?,
        item_ids: ItemIds::new(vec![1, 2])?,
        total_amount: "129.9".parse()?,
        currency: Some("EUR".parse()?),
        external_id: None,
        metadata,
        process_after: None,
        status: OrderStatus::Completed,
        attempt: 1,
        rescues: 0,
        last_error: None,
        worker_id: Some(WorkerId::from(WORKER_ID)),
        available_at: None,
        claimed_at: Some(at(120)),
        completed_at: Some(at(2_995)),
        created_at: at(0),
        updated_at: at(2_995),
    })
}

/// The same order right after it was placed.
fn waiting(order: &Order) -> Order {
    Order {
        status: OrderStatus::Pending,
        attempt: 0,
        worker_id: None,
        available_at: Some(at(0)),
        claimed_at: None,
        completed_at: None,
        updated_at: at(0),
        ..order.clone()
    }
}

fn story(order: &Order) -> Story {
    let placed = Event::new(at(0), EventKind::Placed);
    let claimed = Event {
        at: at(120),
        kind: EventKind::Claimed,
        attempt: Some(order.attempt),
        worker_id: order.worker_id,
        ..placed.clone()
    };
    let duration = Some(Duration::from_millis(2_875));
    let done = Event { at: at(2_995), kind: EventKind::Completed, duration, ..claimed.clone() };
    Story { events: [placed, claimed, done].map(Into::into).into(), next_cursor: None }
}

fn worker() -> LiveWorker {
    LiveWorker {
        worker_id: WorkerId::from(WORKER_ID),
        host: "worker-1".to_owned(),
        pid: 17,
        version: VERSION.to_string(),
        processor: Some(ProcessorKind::Http),
        breaker: Some(Breaker { state: BreakerState::Closed, since: at(-3_600_000), reason: None }),
        slots: 64,
        busy: 1,
        started_at: at(-3_600_000),
        heartbeat_at: at(0),
    }
}

fn situation() -> Situation {
    Situation {
        now: at(3_000),
        paused_at: None,
        live_workers: 1,
        open_breaker: None,
        holder: None,
        ahead: 0,
        outage: None,
        clock_behind: Duration::ZERO,
    }
}

fn counts() -> OrderCounts {
    let processing_time = Duration::from_secs(23);
    OrderCounts { pending: 11, processing: 1, completed: 8, processing_time, ..OrderCounts::default() }
}

fn queue(waiting: &Order) -> Queue {
    let oldest_due = Some((waiting.order_id, at(0), Duration::from_millis(100)));
    Queue { paused_at: None, counts: counts(), oldest_due, workers: vec![worker()], clock_behind: Duration::ZERO }
}
