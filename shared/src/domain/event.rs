use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{HttpAnswer, OrderStatus, WorkerId};

/// Something that happened to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened, by the database's clock.
    pub at: DateTime<Utc>,
    /// What happened.
    pub kind: EventKind,
    /// The attempt that began or ended with it.
    pub attempt: Option<u16>,
    /// The worker that made that attempt.
    pub worker_id: Option<WorkerId>,
    /// How long the attempt took.
    pub duration: Option<Duration>,
    /// What went wrong.
    pub error: Option<String>,
    /// The kind of error, for programs.
    pub error_class: Option<String>,
    /// The answer of a service over HTTP that says so.
    pub answer: Option<HttpAnswer>,
    /// How many times in a row what the work depends on had been away.
    pub times: Option<u32>,
    /// When the order may be claimed again.
    pub available_at: Option<DateTime<Utc>>,
}

impl Event {
    /// An event of which no more is known.
    #[must_use]
    pub fn new(at: DateTime<Utc>, kind: EventKind) -> Self {
        Self {
            at,
            kind,
            attempt: None,
            worker_id: None,
            duration: None,
            error: None,
            error_class: None,
            answer: None,
            times: None,
            available_at: None,
        }
    }
}

/// What can happen to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was placed.
    Placed,
    /// A worker claimed it.
    Claimed,
    /// An attempt failed; another will follow.
    AttemptFailed,
    /// It failed for good.
    Failed,
    /// What its work depends on was away.
    Unavailable,
    /// A worker that stopped handed it back.
    Released,
    /// It was taken back from a dead worker.
    Rescued,
    /// A person gave it all its attempts again.
    Retried,
    /// A person took it back, or its worker found that nobody wants it any more.
    Canceled,
    /// It is done.
    Completed,
}

impl EventKind {
    /// The kinds that are stored. The others the order's own row tells.
    pub(crate) const STORED: [Self; 7] = [
        Self::AttemptFailed,
        Self::Unavailable,
        Self::Failed,
        Self::Released,
        Self::Rescued,
        Self::Retried,
        Self::Canceled,
    ];

    /// The name, as it stands in the database.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Placed => "PLACED",
            Self::Claimed => "CLAIMED",
            Self::AttemptFailed => "ATTEMPT_FAILED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Failed => "FAILED",
            Self::Released => "RELEASED",
            Self::Rescued => "RESCUED",
            Self::Retried => "RETRIED",
            Self::Canceled => "CANCELED",
            Self::Completed => "COMPLETED",
        }
    }
}

/// One stored event and the claim that it ended.
pub(crate) struct StoredEvent {
    /// `None` where this release does not know its kind.
    pub(crate) event: Option<Event>,
    pub(crate) claimed_at: Option<DateTime<Utc>>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) event_id: Uuid,
}

/// A place in an order's story: right behind this event.
///
/// Stored events are in the order of their times, and of their ids if they share one. The events that the order's own
/// row tells are around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoryKey {
    /// When the event happened.
    pub at: DateTime<Utc>,
    /// The stored event; zeros if the row tells it.
    pub event_id: Uuid,
    /// What has been told of it.
    pub part: StoryPart,
}

/// The part of an order's story that a place is right behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoryPart {
    /// The placing, which the row tells.
    Placed,
    /// The claim that a stored event ended.
    Claim,
    /// A stored event.
    Event,
    /// The claim by which the order was completed, which the row tells.
    LastClaim,
}

/// One page of an order's story, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoryPage {
    /// The events of this page.
    pub events: Vec<Event>,
    /// Where the next page goes on; `None` on the last one.
    pub next: Option<StoryKey>,
}

/// What the order's own row tells of its story.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    pub(crate) status: OrderStatus,
    pub(crate) attempt: u16,
    pub(crate) worker_id: Option<WorkerId>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) claimed_at: Option<DateTime<Utc>>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
}

impl Course {
    /// The claim that no stored event ended, if there is one, and the completion.
    fn end(self) -> [Option<Event>; 2] {
        let Self { status, attempt, worker_id, claimed_at, completed_at, .. } = self;
        let under_way = matches!(status, OrderStatus::Processing | OrderStatus::Completed);
        let Some(at) = claimed_at.filter(|_| under_way) else { return [None, None] };
        let by = |event: Event| Event { attempt: Some(attempt), worker_id, ..event };
        let completed = completed_at.map(|done| {
            let duration = (done - at).to_std().ok();
            by(Event { duration, ..Event::new(done, EventKind::Completed) })
        });
        [Some(by(Event::new(at, EventKind::Claimed))), completed]
    }
}

/// A page of an order's story, while it is told.
pub(crate) struct Story {
    after: Option<StoryKey>,
    events: Vec<Event>,
    bytes: usize,
    limit: usize,
    bytes_max: usize,
    last: Option<StoryKey>,
    has_next: bool,
}

impl Story {
    /// A page that goes on behind `after`, of `limit` events at most, and few more bytes than `bytes_max`.
    pub(crate) fn new(course: Course, after: Option<StoryKey>, limit: u16, bytes_max: usize) -> Self {
        let (events, limit) = (Vec::new(), limit.into());
        let mut story = Self { after, events, bytes: 0, limit, bytes_max, last: after, has_next: false };
        if after.is_none() {
            let at = course.created_at;
            story.tell(
                Event::new(at, EventKind::Placed),
                StoryKey { at, event_id: Uuid::nil(), part: StoryPart::Placed },
            );
        }
        story
    }

    /// Whether the page has no room left.
    pub(crate) fn is_full(&self) -> bool {
        self.events.len() >= self.limit || self.bytes >= self.bytes_max
    }

    /// Whether there is more than the page has room for.
    pub(crate) fn has_next(&self) -> bool {
        self.has_next
    }

    /// Where to go on reading stored events, inclusive; `None` if all have been told.
    pub(crate) fn from(&self) -> Option<(DateTime<Utc>, Uuid)> {
        match self.last {
            None | Some(StoryKey { part: StoryPart::Placed, .. }) => Some((DateTime::UNIX_EPOCH, Uuid::nil())),
            Some(StoryKey { part: StoryPart::LastClaim, .. }) => None,
            Some(StoryKey { at, event_id, .. }) => Some((at, event_id)),
        }
    }

    /// Tells the next stored event, and before it the claim that it ended.
    pub(crate) fn stored(&mut self, stored: StoredEvent) {
        let StoredEvent { event, claimed_at, at, event_id } = stored;
        let told = self.last.filter(|last| (last.at, last.event_id) == (at, event_id)).map(|last| last.part);
        let Some(event) = event.filter(|_| told != Some(StoryPart::Event)) else { return };
        if let Some(claimed_at) = claimed_at.filter(|_| told != Some(StoryPart::Claim)) {
            let claimed = Event {
                attempt: event.attempt,
                worker_id: event.worker_id,
                ..Event::new(claimed_at, EventKind::Claimed)
            };
            self.tell(claimed, StoryKey { at, event_id, part: StoryPart::Claim });
        }
        self.tell(event, StoryKey { at, event_id, part: StoryPart::Event });
    }

    /// The page, once all stored events have been told, or the page has no room for more.
    pub(crate) fn page(mut self, course: Course) -> StoryPage {
        let [claimed, completed] = course.end();
        // Only the cursor of a completed order, whose row does not change any more, leads behind its last claim.
        let claimed = claimed.filter(|_| self.after.is_none_or(|after| after.part != StoryPart::LastClaim));
        for event in claimed.into_iter().chain(completed) {
            let key = StoryKey { at: event.at, event_id: Uuid::nil(), part: StoryPart::LastClaim };
            self.tell(event, key);
        }
        StoryPage { next: self.last.filter(|_| self.has_next), events: self.events }
    }

    fn tell(&mut self, event: Event, key: StoryKey) {
        const FIXED: usize = 256;
        if self.has_next || self.is_full() {
            self.has_next = true;
            return;
        }
        let answer = event.answer.as_ref().map_or(0, |answer| answer.body().len());
        self.bytes += FIXED + answer + event.error.as_ref().map_or(0, String::len);
        self.events.push(event);
        self.last = Some(key);
    }
}
