use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use sqlx::{Connection, Executor, MySqlConnection};
use uuid::Uuid;

use super::page::PAGE_BYTES_MAX;
use super::row::unless_never;
use crate::domain::{
    Course, Event, EventKind, HttpAnswer, OrderId, OrderStatus, StoredEvent, Story, StoryKey, StoryPage, WorkerId,
};
use crate::store::hot::{Hot, LIMIT};
use crate::store::sql::Value;
use crate::store::{Store, StoreError};

/// Events in the order of the primary key, beginning with a given one.
const EVENTS: &str = r"
    select at, event_id, event, attempt, worker_id, claimed_at, duration_us, error, error_class, http_status, http_body,
        times, available_at
    from order_events
    where order_id = ? and (at > ? or at = ? and event_id >= ?)
    order by at, event_id
    limit ?
";

const COURSE: &str = r"
    select cast(status as char) as status, attempt, worker_id, created_at, claimed_at, completed_at
    from orders
    where order_id = ?
";

pub(in crate::store) fn hot_statements(sample: Uuid) -> Vec<Hot> {
    let since = DateTime::UNIX_EPOCH.naive_utc();
    let key = [Value::Time(since), Value::Time(since), Value::Id(Uuid::nil())];
    let values = [Value::Id(sample)].into_iter().chain(key).chain([Value::Number(LIMIT.into())]).collect();
    vec![Hot::new("read events", EVENTS, values, ("order_events", "PRIMARY", &["ref", "range"]))]
}

/// The most events that one statement asks for, so that the server sends few in vain if the bytes of a page run out
/// first. It is more than a page has by default.
const CHUNK: usize = 128;

impl Store {
    /// One page of the story of an order, oldest event first, beginning behind `after`: at most `limit` events, and few
    /// more bytes than [`PAGE_BYTES_MAX`]. `None` if there is no such order.
    ///
    /// Each event comes once, however the story is divided into pages.
    pub async fn story(
        &self,
        order_id: OrderId,
        after: Option<StoryKey>,
        limit: u16,
    ) -> Result<Option<StoryPage>, StoreError> {
        self.call("read the events of an order", async |connection| {
            // All reads see the same moment: an event between them would be told twice, or not at all.
            connection.execute("set transaction isolation level repeatable read").await?;
            let mut transaction = connection.begin().await?;
            let page = page(&mut transaction, order_id, after, limit).await?;
            transaction.commit().await?;
            Ok(page)
        })
        .await
    }
}

async fn page(
    connection: &mut MySqlConnection,
    order_id: OrderId,
    after: Option<StoryKey>,
    limit: u16,
) -> Result<Option<StoryPage>, sqlx::Error> {
    let row: Option<CourseRow> = sqlx::query_as(COURSE).bind(order_id.uuid()).fetch_optional(&mut *connection).await?;
    let Some(course) = row.map(CourseRow::course) else { return Ok(None) };
    let mut story = Story::new(course, after, limit, PAGE_BYTES_MAX);
    let mut from = story.from();
    while let Some((at, event_id)) = from {
        // The first one may have been told already, and one more shows whether there is a next page.
        let asked = if story.is_full() { 2 } else { (usize::from(limit) + 2).min(CHUNK) };
        let query = sqlx::query_as(EVENTS).bind(order_id.uuid()).bind(at.naive_utc()).bind(at.naive_utc());
        let mut rows = query.bind(event_id).bind(u32::try_from(asked).unwrap_or(u32::MAX)).fetch(&mut *connection);
        let (mut got, mut last) = (0, None);
        while let Some(row) = rows.try_next().await? {
            let stored = EventRow::stored(row);
            (got, last) = (got + 1, Some((stored.at, stored.event_id)));
            story.stored(stored);
        }
        from = last.filter(|_| got == asked && !story.has_next());
    }
    Ok(Some(story.page(course)))
}

#[derive(Debug, sqlx::FromRow)]
struct CourseRow {
    #[sqlx(try_from = "String")]
    status: OrderStatus,
    attempt: u16,
    worker_id: Uuid,
    created_at: DateTime<Utc>,
    claimed_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
}

impl CourseRow {
    fn course(self) -> Course {
        let Self { status, attempt, worker_id, created_at, claimed_at, completed_at } = self;
        let worker_id = Some(worker_id).filter(|id| !id.is_nil()).map(WorkerId::from);
        Course { status, attempt, worker_id, created_at, claimed_at: unless_never(claimed_at), completed_at }
    }
}

#[derive(Debug, sqlx::FromRow)]
struct EventRow {
    at: DateTime<Utc>,
    event_id: Uuid,
    event: String,
    attempt: Option<u16>,
    worker_id: Option<Uuid>,
    claimed_at: Option<DateTime<Utc>>,
    duration_us: Option<u64>,
    error: Option<String>,
    error_class: Option<String>,
    http_status: Option<u16>,
    http_body: Option<String>,
    times: Option<u32>,
    available_at: Option<DateTime<Utc>>,
}

impl EventRow {
    fn stored(self) -> StoredEvent {
        let kind = EventKind::STORED.into_iter().find(|kind| kind.name() == self.event);
        let event = kind.map(|kind| Event {
            at: self.at,
            kind,
            attempt: self.attempt,
            worker_id: self.worker_id.map(WorkerId::from),
            duration: self.duration_us.map(Duration::from_micros),
            error: self.error,
            error_class: self.error_class,
            answer: self.http_status.map(|status| {
                let body = self.http_body.unwrap_or_default();
                HttpAnswer::new(status, body.as_bytes())
            }),
            times: self.times,
            available_at: self.available_at,
        });
        StoredEvent { event, claimed_at: self.claimed_at, at: self.at, event_id: self.event_id }
    }
}
