use orders_shared::domain::OrderId;
use orders_shared::store::{Change, Store, StoreError};
use poem::web::{Data, RemoteAddr};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::Tag;
use super::action::Action;
use crate::bell::Bell;
use crate::dto::{Explanation, FullOrder, PauseState, QueueState, RetryOrder, Story};
use crate::edge::Turn;
use crate::memory::MemoryBudget;
use crate::payload::{Json, OptionalBody, Problem, cursor};
use crate::problems::Kind;
use crate::reports::QueueReports;
use crate::routes::orders::{no_such_order, page_room, read_problem, wrong_cursor};

/// Events of a page where the caller does not say: more than nearly every order has.
const EVENTS_LIMIT_DEFAULT: u16 = 100;

/// What people ask and decide about orders and the queue. Without a store it only documents itself.
pub(crate) struct ControlApi {
    pub(crate) source: Option<(Store, Bell, QueueReports, MemoryBudget)>,
}

#[OpenApi]
impl ControlApi {
    /// Cancel an order
    ///
    /// Only while it is PENDING; canceling it again changes nothing. Otherwise 409, with its status in `order_status`.
    #[oai(path = "/orders/:order_id/cancel", method = "post", operation_id = "cancel_order", tag = "Tag::Orders")]
    async fn cancel_order(
        &self,
        /// The order's id.
        order_id: Path<Uuid>,
        client: &RemoteAddr,
        turn: Data<&Turn>,
    ) -> Result<Json<FullOrder>, Problem> {
        let (store, order_id) = (self.store()?.clone(), OrderId::from(order_id.0));
        let action = Action::on_order("cancel", order_id, client);
        let canceled = turn
            .detached(async move {
                let canceled = store.cancel(order_id).await;
                action.log_wish(&canceled);
                canceled
            })
            .await?;
        wish(canceled, "Only a PENDING order can be canceled")
    }

    /// Retry a failed order
    ///
    /// FAILED becomes PENDING, due at once, with all its attempts anew. Otherwise 409, with its status in
    /// `order_status`. An order is poison when three workers were lost while they worked on it, as its `last_error` tells: it
    /// needs `{"force": true}`, since it may kill three more.
    #[oai(path = "/orders/:order_id/retry", method = "post", operation_id = "retry_order", tag = "Tag::Orders")]
    async fn retry_order(
        &self,
        /// The order's id.
        order_id: Path<Uuid>,
        how: OptionalBody<RetryOrder>,
        client: &RemoteAddr,
        turn: Data<&Turn>,
    ) -> Result<Json<FullOrder>, Problem> {
        let force = how.0.unwrap_or_default();
        let (store, bell, order_id) = (self.store()?.clone(), self.bell()?.clone(), OrderId::from(order_id.0));
        let action = Action::on_order("retry", order_id, client);
        let retried = turn
            .detached(async move {
                let retried = store.retry(order_id, force).await;
                action.log_wish(&retried);
                if matches!(retried, Ok(Change::Made(_))) {
                    bell.ring();
                }
                retried
            })
            .await?;
        wish(retried, "Only a FAILED order can be retried")
    }

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
        turn: Data<&Turn>,
    ) -> Result<Json<Story>, Problem> {
        let order_id = OrderId::from(order_id.0);
        let decode = |cursor: String| cursor::decode_story(&cursor, order_id).ok_or_else(wrong_cursor);
        let after = cursor.0.map(decode).transpose()?;
        let (store, .., budget) = self.source.as_ref().ok_or_else(Problem::internal)?;
        let (store, room, limit) = (store.clone(), page_room(budget, limit.0).await?, limit.0);
        let (found, room) = turn.detached(async move { (store.story(order_id, after, limit).await, room) }).await?;
        let page = found.map_err(|error| read_problem(&error))?.ok_or_else(no_such_order)?;
        turn.keep(room.into_room());
        let next_cursor = page.next.map(|key| cursor::encode_story(key, order_id));
        Ok(Json(Story { events: page.events.into_iter().map(Into::into).collect(), next_cursor }))
    }

    /// Explain why an order is not done yet
    #[oai(path = "/orders/:order_id/why", method = "get", operation_id = "explain_order", tag = "Tag::Orders")]
    async fn explain_order(
        &self,
        /// The order's id.
        order_id: Path<Uuid>,
        turn: Data<&Turn>,
    ) -> Result<Json<Explanation>, Problem> {
        let (store, order_id) = (self.store()?.clone(), OrderId::from(order_id.0));
        let found = turn.detached(async move { store.situation(order_id).await }).await?;
        let found = found.map_err(|error| read_problem(&error))?;
        let (order, situation) = found.ok_or_else(no_such_order)?;
        Ok(Json(Explanation::new(order, situation)))
    }

    /// Read the queue
    #[oai(path = "/queue", method = "get", operation_id = "get_queue", tag = "Tag::Queue")]
    async fn get_queue(&self) -> Result<Json<QueueState>, Problem> {
        let (_, _, queue, _) = self.source.as_ref().ok_or_else(Problem::internal)?;
        let report = queue.read().await.ok_or_else(Problem::internal)?.map_err(|error| read_problem(&error))?;
        Ok(Json(report.queue.clone().into()))
    }

    /// Pause the queue
    ///
    /// Once this is answered no claim begins, whatever restarts, until the queue is resumed. Orders under way are
    /// finished. Pausing again changes nothing.
    #[oai(path = "/queue/pause", method = "post", operation_id = "pause_queue", tag = "Tag::Queue")]
    async fn pause_queue(&self, client: &RemoteAddr, turn: Data<&Turn>) -> Result<Json<PauseState>, Problem> {
        let (store, action) = (self.store()?.clone(), Action::on_queue("pause", client));
        let paused = turn.detached(async move {
            let paused = store.pause().await;
            action.log_queue(&paused);
            paused
        });
        let paused_at = paused.await?.map_err(|error| read_problem(&error))?;
        Ok(Json(PauseState { paused: true, paused_at: Some(paused_at) }))
    }

    /// Resume the queue
    ///
    /// Workers go on claiming. Resuming again changes nothing.
    #[oai(path = "/queue/resume", method = "post", operation_id = "resume_queue", tag = "Tag::Queue")]
    async fn resume_queue(&self, client: &RemoteAddr, turn: Data<&Turn>) -> Result<Json<PauseState>, Problem> {
        let (store, bell, action) = (self.store()?.clone(), self.bell()?.clone(), Action::on_queue("resume", client));
        let resumed = turn.detached(async move {
            let resumed = store.resume().await.inspect(|()| bell.ring());
            action.log_queue(&resumed);
            resumed
        });
        resumed.await?.map_err(|error| read_problem(&error))?;
        Ok(Json(PauseState { paused: false, paused_at: None }))
    }
}

impl ControlApi {
    fn store(&self) -> Result<&Store, Problem> {
        self.source.as_ref().map(|(store, ..)| store).ok_or_else(Problem::internal)
    }

    fn bell(&self) -> Result<&Bell, Problem> {
        self.source.as_ref().map(|(_, bell, ..)| bell).ok_or_else(Problem::internal)
    }
}

fn events_limit_default() -> u16 {
    EVENTS_LIMIT_DEFAULT
}

/// The order as it was wished to be, or the problem; `rule` says what the wish needs.
fn wish(wish: Result<Change, StoreError>, rule: &str) -> Result<Json<FullOrder>, Problem> {
    match wish.map_err(|error| read_problem(&error))? {
        Change::Made(order) => Ok(Json(order.into())),
        Change::NotFound => Err(no_such_order()),
        Change::Poison(order) => {
            let detail = format!(
                "This order is poison: {} workers were lost while they worked on it. Send {{\"force\": true}} to retry it all \
                 the same.",
                order.rescues
            );
            Err(Problem::new(Kind::OrderIsPoison, detail).with_order_status(order.status))
        }
        Change::Conflict(order) => {
            let detail = format!("{rule}; this one is {}.", order.status);
            Err(Problem::new(Kind::OrderStatusConflict, detail).with_order_status(order.status))
        }
    }
}
