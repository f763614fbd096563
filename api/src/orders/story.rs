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

/// Events of a page where the caller does not say: more than nearly every order has.
const EVENTS_LIMIT_DEFAULT: u16 = 100;

/// What happened to an order, and what stands in its way.
pub(crate) struct StoryApi;

#[OpenApi]
impl StoryApi {
    /// Read an order's story
    ///
    /// Everything that happened to it, oldest first: placed, claimed, each attempt that failed, each rescue, what people did, its
    /// end. A page at a time: follow `next_cursor` until it is null. Each event comes once; a page of long errors is shorter
    /// than its limit.
    #[oai(path = "/orders/:order_id/events", method = "get", operation_id = "list_order_events", tag = "Tag::Orders")]
    async fn list_order_events(
        &self,
        /// The order's id.
        order_id: Path<Uuid>,
        /// Events of a page at most: 1 to 1000.
        #[oai(default = "events_limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Where the page begins: `next_cursor` of the page before.
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
    /// What happened to it, oldest first.
    pub events: Vec<OrderEvent>,
    /// The next page's `cursor`; null on the last one.
    pub next_cursor: Option<String>,
}

/// Something that happened to an order.
#[derive(Object, Serialize)]
pub struct OrderEvent {
    /// When.
    at: DateTime<Utc>,
    /// What.
    event: What,
    /// The attempt that began or ended; null for what people did.
    attempt: Option<u16>,
    /// The worker that made the attempt.
    worker_id: Option<Uuid>,
    /// How long the attempt took, in milliseconds, where it ended.
    duration_ms: Option<f64>,
    /// What went wrong.
    error: Option<String>,
    /// When the order may be claimed again, where it may.
    available_at: Option<DateTime<Utc>>,
}

/// What can happen to an order.
#[derive(Clone, Copy, Enum, Serialize)]
#[oai(rename_all = "snake_case", rename = "OrderEventKind", remote = "EventKind")]
#[serde(rename_all = "snake_case")]
enum What {
    /// It was placed.
    Placed,
    /// A worker claimed it.
    Claimed,
    /// An attempt failed; another follows.
    AttemptFailed,
    /// It failed for good.
    Failed,
    /// A worker that stopped handed it back.
    Released,
    /// It was taken back from a dead worker.
    Rescued,
    /// Somebody gave it all its attempts anew.
    Retried,
    /// Somebody took it back.
    Canceled,
    /// It was done.
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
            available_at: event.available_at,
        }
    }
}

/// Milliseconds of whole microseconds, with no noise behind them.
#[expect(clippy::cast_precision_loss, reason = "no attempt lasts for centuries")]
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

/// Why an order is not done yet.
#[derive(Object, Serialize)]
pub struct Explanation {
    /// The order.
    order_id: Uuid,
    /// Where it stands.
    status: Status,
    /// The reason for programs.
    code: Code,
    /// The reason for people, in one sentence.
    reason: String,
    /// When a worker may claim it; null unless it is PENDING.
    available_at: Option<DateTime<Utc>>,
    /// Since when the queue is paused; null when it is not.
    paused_at: Option<DateTime<Utc>>,
    /// Due orders that come before it, counted up to 10,000; null unless it is due itself.
    ahead: Option<u64>,
    /// Workers that are alive.
    live_workers: u64,
    /// The worker that holds it, if one does.
    claimed_by: Option<WorkerState>,
    /// Since when; null when none does.
    claimed_at: Option<DateTime<Utc>>,
    /// The attempt under way while it is PROCESSING, otherwise the attempts used.
    attempt: u16,
    /// Why the last attempt that failed did so; null where none did.
    last_error: Option<String>,
}

/// Why an order is not done yet: the first obstacle in its way.
#[derive(Clone, Copy, Enum, Serialize)]
#[oai(rename_all = "snake_case", rename = "WhyCode", remote = "Why")]
#[serde(rename_all = "snake_case")]
enum Code {
    /// It is done.
    Completed,
    /// It was taken back.
    Canceled,
    /// It is out of attempts, or cannot succeed.
    Failed,
    /// A worker is at it.
    Claimed,
    /// Its worker died; it is about to be rescued.
    WorkerDied,
    /// It is not due yet.
    Scheduled,
    /// The database's clock went back behind the time at which it was due; a worker takes it all the same.
    ClockWentBack,
    /// An attempt failed, and the next one waits.
    WaitsForRetry,
    /// No order is claimed now.
    QueuePaused,
    /// It is due, and no worker is alive.
    NoLiveWorker,
    /// Others are due for longer.
    OthersAhead,
    /// It is the next.
    Next,
}

impl Explanation {
    /// Explains where an order stands in this situation.
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
