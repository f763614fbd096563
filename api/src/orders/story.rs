use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use orders_shared::domain::{Event, EventKind, Order, OrderId, OrderStatus, Situation, Why, WorkerId};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::{Enum, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::cursor::{decode_story, encode_story};
use crate::app::App;
use crate::edge::Limits;
use crate::problems::Problem;
use crate::wire::json::Json;
use crate::wire::status::Status;
use crate::wire::tags::Tag;
use crate::wire::worker::WorkerState;

/// Default `limit` of events: more than nearly every order has.
const EVENTS_LIMIT_DEFAULT: u16 = 100;

/// The operations that tell what happened to an order and why it is not done yet.
pub(crate) struct StoryApi;

#[OpenApi]
impl StoryApi {
    /// Read an order's story
    ///
    /// Lists everything that happened to the order, oldest first: when it was placed and claimed, each failed attempt,
    /// each rescue, what people did, and how it ended. Follow `next_cursor` until it is null. Each event appears once.
    /// A page with long errors may be shorter than its limit.
    #[oai(path = "/orders/:order_id/events", method = "get", operation_id = "list_order_events", tag = "Tag::Orders")]
    async fn list_order_events(
        &self,
        /// The order's id.
        order_id: Path<Uuid>,
        /// Maximum number of events on a page, from 1 to 1000.
        #[oai(default = "events_limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Where the page begins: the `next_cursor` of the previous page.
        cursor: Query<Option<String>>,
        limits: Data<&Limits>,
        app: Data<&Arc<App>>,
    ) -> Result<Json<Story>, Problem> {
        let (order_id, limit) = (OrderId::from(order_id.0), limit.0);
        let after = cursor.0.map(|cursor| decode_story(&cursor, order_id)).transpose()?;
        let page = app.page(&limits, limit, async move |store| store.story(order_id, after, limit).await).await?;
        let page = page.ok_or_else(Problem::no_such_order)?;
        let next_cursor = page.next.map(|key| encode_story(key, order_id));
        Ok(Json::new(&Story { events: page.events.into_iter().map(Into::into).collect(), next_cursor }))
    }

    /// Explain why an order is not done yet
    ///
    /// Names the first obstacle in its way, as a code and as a sentence, with the facts behind it.
    #[oai(path = "/orders/:order_id/why", method = "get", operation_id = "explain_order", tag = "Tag::Orders")]
    async fn explain_order(
        &self,
        /// The order's id.
        order_id: Path<Uuid>,
        app: Data<&Arc<App>>,
    ) -> Result<Json<Explanation>, Problem> {
        let order_id = OrderId::from(order_id.0);
        let found = app.ask(async move |store| store.situation(order_id).await).await?;
        let (order, situation) = found.ok_or_else(Problem::no_such_order)?;
        Ok(Json::new(&Explanation::new(order, situation)))
    }
}

fn events_limit_default() -> u16 {
    EVENTS_LIMIT_DEFAULT
}

/// A page of an order's story.
#[derive(Object, Serialize)]
pub struct Story {
    /// The events, oldest first.
    pub events: Vec<OrderEvent>,
    /// The `cursor` of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// Something that happened to an order.
#[derive(Object, Serialize)]
pub struct OrderEvent {
    /// When it happened.
    at: DateTime<Utc>,
    /// What happened.
    event: What,
    /// The attempt that began or ended; null if the event is not part of an attempt.
    attempt: Option<u16>,
    /// The worker that made the attempt; null if the event is not part of an attempt.
    worker_id: Option<Uuid>,
    /// How long the attempt took, in milliseconds; null unless it ended.
    duration_ms: Option<f64>,
    /// What went wrong; null if nothing did.
    error: Option<String>,
    /// The kind of error, such as `timeout`, `panic`, `connect` or `http_5xx`; null if nothing went wrong.
    error_class: Option<String>,
    /// The status that a service answered with; null if the error is not an answer over HTTP.
    http_status: Option<u16>,
    /// The first 1,024 bytes of that answer; null if the error is not an answer over HTTP.
    http_body: Option<String>,
    /// How many tries in a row have found what the work needs unavailable; null in other events than `unavailable`.
    times: Option<u32>,
    /// When the order may be claimed again; null if the event does not set a time.
    available_at: Option<DateTime<Utc>>,
}

/// What can happen to an order.
#[derive(Clone, Copy, Enum, Serialize)]
#[oai(rename_all = "snake_case", rename = "OrderEventKind", remote = "EventKind")]
#[serde(rename_all = "snake_case")]
enum What {
    /// The order was placed.
    Placed,
    /// A worker claimed it.
    Claimed,
    /// An attempt failed; another will follow.
    AttemptFailed,
    /// It failed for good.
    Failed,
    /// What its work needs was unavailable, such as a service; the attempt is not used up. Of many times in a row, the
    /// first and the last have an event.
    Unavailable,
    /// A worker that was stopping handed it back.
    Released,
    /// It was taken back from a dead worker.
    Rescued,
    /// A person retried it: all its attempts were restored.
    Retried,
    /// A person canceled it, or its worker found that nobody wants it any more.
    Canceled,
    /// It was completed.
    Completed,
}

impl From<Event> for OrderEvent {
    fn from(event: Event) -> Self {
        Self {
            at: event.at,
            event: event.kind.into(),
            attempt: event.attempt,
            worker_id: event.worker_id.map(WorkerId::uuid),
            duration_ms: event.duration.map(millis),
            error: event.error,
            error_class: event.error_class,
            http_status: event.answer.as_ref().map(|answer| answer.status),
            http_body: event.answer.map(|answer| answer.body().to_owned()),
            times: event.times,
            available_at: event.available_at,
        }
    }
}

/// Milliseconds, cut to whole microseconds so that no noise follows.
#[expect(clippy::cast_precision_loss, reason = "no attempt lasts for centuries")]
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

/// Why an order is not done yet.
#[derive(Object, Serialize)]
pub struct Explanation {
    /// The order's id.
    order_id: Uuid,
    /// The order's status.
    status: Status,
    /// The reason, for programs.
    code: Code,
    /// The reason, for people.
    reason: String,
    /// When a worker may claim the order; null unless it is PENDING.
    available_at: Option<DateTime<Utc>>,
    /// When the queue was paused; null if it is not.
    paused_at: Option<DateTime<Utc>>,
    /// Due orders that come before this one, counted up to 10,000; null unless this one is due.
    ahead: Option<u64>,
    /// Number of live workers.
    live_workers: u64,
    /// The live worker that works on the order; null if there is none.
    claimed_by: Option<WorkerState>,
    /// When the order was claimed; null unless it is PROCESSING.
    claimed_at: Option<DateTime<Utc>>,
    /// While the order is PROCESSING, the number of the current attempt; otherwise the number of attempts made.
    attempt: u16,
    /// The error of the last failed attempt; null if there is none, or if a person has retried the order since.
    last_error: Option<String>,
}

/// Why an order is not done yet: the first obstacle in its way.
#[derive(Clone, Copy, Enum, Serialize)]
#[oai(rename_all = "snake_case", rename = "WhyCode", remote = "Why")]
#[serde(rename_all = "snake_case")]
enum Code {
    /// The order is done.
    Completed,
    /// It was canceled.
    Canceled,
    /// It is out of attempts, or can never succeed.
    Failed,
    /// A worker is working on it.
    Claimed,
    /// Its worker died; it will be rescued.
    WorkerDied,
    /// It is not due yet.
    Scheduled,
    /// The database's clock went back to before the order's due time; a worker takes the order anyway.
    ClockWentBack,
    /// An attempt failed, and the next one is not due yet.
    WaitsForRetry,
    /// What its work needs is unavailable, such as a service, or workers send no orders to it now.
    ServiceUnavailable,
    /// The queue is paused.
    QueuePaused,
    /// It is due, but no worker is alive.
    NoLiveWorker,
    /// Other orders have been due for longer.
    OthersAhead,
    /// It is next.
    Next,
}

impl Explanation {
    /// Explains why the order is not done yet in this situation.
    #[must_use]
    pub fn new(order: Order, situation: Situation) -> Self {
        let why = Why::of(&order, &situation);
        let is_claimed = order.status == OrderStatus::Processing;
        let due = order.available_at.is_some_and(|at| at <= situation.now);
        Self {
            order_id: order.order_id.uuid(),
            status: order.status.into(),
            reason: why.sentence(&order, &situation),
            code: why.into(),
            available_at: order.available_at,
            paused_at: situation.paused_at,
            ahead: due.then_some(situation.ahead),
            live_workers: situation.live_workers,
            claimed_by: situation.holder.filter(|_| is_claimed).map(WorkerState::from),
            claimed_at: order.claimed_at.filter(|_| is_claimed),
            attempt: order.attempt,
            last_error: order.last_error,
        }
    }
}
