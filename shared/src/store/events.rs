use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{Connection, Executor};
use uuid::Uuid;

use super::{Store, StoreError, list};
use crate::domain::{Event, EventKind, OrderId, StoredEvent, WorkerId, story};

/// In the order of the primary key.
pub(super) const EVENTS: &str = r"
    select at, event, attempt, worker_id, claimed_at, duration_us, error, available_at
    from order_events
    where order_id = ?
    order by at, event_id
";

impl Store {
    /// The whole story of an order, oldest first; `None` when there is no such order.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn story(&self, order_id: OrderId) -> Result<Option<Vec<Event>>, StoreError> {
        self.call("read the events of an order", async {
            let mut line = self.line().await?;
            // Both reads at one moment: what happens between them would be told twice, or not at all.
            line.execute("set transaction isolation level repeatable read").await?;
            let mut transaction = line.begin().await?;
            let order = list::read(&mut transaction, order_id).await?;
            let rows: Vec<EventRow> = sqlx::query_as(EVENTS).bind(order_id.uuid()).fetch_all(&mut *transaction).await?;
            transaction.commit().await?;
            line.done();
            Ok(order.map(|order| story(&order, rows.into_iter().filter_map(EventRow::event).collect())))
        })
        .await
    }
}

#[derive(Debug, sqlx::FromRow)]
struct EventRow {
    at: DateTime<Utc>,
    event: String,
    attempt: Option<u16>,
    worker_id: Option<Uuid>,
    claimed_at: Option<DateTime<Utc>>,
    duration_us: Option<u64>,
    error: Option<String>,
    available_at: Option<DateTime<Utc>>,
}

impl EventRow {
    /// The event, unless this release does not know its kind.
    fn event(self) -> Option<StoredEvent> {
        let kind = match self.event.as_str() {
            "ATTEMPT_FAILED" => EventKind::AttemptFailed,
            "FAILED" => EventKind::Failed,
            "RELEASED" => EventKind::Released,
            "RESCUED" => EventKind::Rescued,
            "RETRIED" => EventKind::Retried,
            "CANCELED" => EventKind::Canceled,
            _ => return None,
        };
        let event = Event {
            at: self.at,
            kind,
            attempt: self.attempt,
            worker_id: self.worker_id.map(WorkerId::from),
            duration: self.duration_us.map(Duration::from_micros),
            error: self.error,
            available_at: self.available_at,
        };
        Some(StoredEvent { event, claimed_at: self.claimed_at })
    }
}
