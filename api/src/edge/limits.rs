use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use poem::http::{HeaderValue, Method, header};
use poem::{Body, Response};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use crate::memory::{MemoryBudget, Room, Share};
use crate::problems::{Kind, Problem};

/// How long an answer may take, not counting waits. It exceeds the limits of the calls inside, except that the state of
/// the queue takes up to five calls of 6 s, possibly after a wait for another reading. Shorter, it would give up
/// requests that are about to be answered; longer, a fault of this program would hold callers for longer. The page of
/// the problem `timed-out` names it.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// An answer of at most this many bytes is small: it fits into the kernel's buffer of a connection, and is not counted.
pub(crate) const SMALL: usize = 16 << 10;

/// What one request may take: time for its answer, and room in memory. The number of connections bounds how many
/// requests there are at a time.
#[derive(Clone, Debug)]
pub(crate) struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    budget: Arc<MemoryBudget>,
    time: Mutex<Time>,
    has_read_body: AtomicBool,
    room: Mutex<Option<Room>>,
}

#[derive(Debug)]
struct Time {
    until: Instant,
    waited: Duration,
}

impl Limits {
    pub(super) fn new(budget: &Arc<MemoryBudget>) -> Self {
        let time = Mutex::new(Time { until: Instant::now() + ANSWER_WITHIN, waited: Duration::ZERO });
        let (has_read_body, room) = (AtomicBool::new(false), Mutex::default());
        Self(Arc::new(Inner { budget: Arc::clone(budget), time, has_read_body, room }))
    }

    /// Waits for something other than the work on the answer, `at_most` this long. Then the time for the answer starts
    /// again.
    pub(crate) async fn wait<F: Future>(&self, at_most: Duration, wait: F) -> F::Output {
        let start = Instant::now();
        self.time().until = start + at_most + ANSWER_WITHIN;
        let output = wait.await;
        let mut time = self.time();
        time.until = Instant::now() + ANSWER_WITHIN;
        time.waited += start.elapsed();
        output
    }

    /// How long the request's waits took: time that was not spent on the answer.
    pub(super) fn waited(&self) -> Duration {
        self.time().waited
    }

    /// Waits until the time for the answer is up.
    pub(super) async fn over(&self) -> Problem {
        loop {
            let until = self.time().until;
            if until <= Instant::now() {
                return Problem::plain(Kind::TimedOut);
            }
            sleep_until(until).await;
        }
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory for bodies that are arriving, and for the answers to them.
    pub(super) fn bodies(&self) -> &Share {
        &self.0.budget.bodies
    }

    /// Notes that the body has arrived in full.
    pub(super) fn body_is_read(&self) {
        self.0.has_read_body.store(true, Ordering::Relaxed);
    }

    /// Whether the body has arrived in full.
    pub(super) fn has_read_body(&self) -> bool {
        self.0.has_read_body.load(Ordering::Relaxed)
    }

    /// The permit to read a page of `limit` entries, and its room: both must be taken before anything is read.
    pub(crate) async fn page(&self, limit: u16) -> Result<(OwnedSemaphorePermit, Room), Problem> {
        self.0.budget.page(limit).await.ok_or_else(no_room)
    }

    /// Keeps room for a change's answer of this many bytes, unless it is small. Call it before the change is made,
    /// since a change must be answered. The room comes from the share of bodies, so that no reader can take it.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<(), Problem> {
        if bytes > SMALL {
            self.keep(self.bodies().take(bytes).ok_or_else(no_room)?);
        }
        Ok(())
    }

    /// Keeps this room for the answer.
    pub(crate) fn keep(&self, room: Room) {
        *self.room() = Some(room);
    }

    fn room(&self) -> MutexGuard<'_, Option<Room>> {
        self.0.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a large answer until its client has read it, in the room that was kept for it, if any. Without room a GET
    /// is rejected, but a change is answered in any case.
    pub(super) async fn count(&self, method: &Method, mut response: Response) -> Result<Response, Problem> {
        if !response.status().is_success() {
            return Ok(response);
        }
        // The body is in memory already, in one piece.
        let bytes = response.take_body().into_bytes().await.map_err(|error| Problem::internal().because(&error))?;
        let mut room = self.room().take();
        if bytes.len() <= SMALL {
            response.set_body(Body::from_bytes(bytes));
            return Ok(response);
        }
        let is_get = *method == Method::GET;
        let share = if is_get { &self.0.budget.reads } else { self.bodies() };
        if !share.fit(&mut room, bytes.len()) && is_get {
            return Err(no_room());
        }
        let room = room.or_else(|| share.take(share.left()));
        response.set_body(Body::from_bytes(Bytes::from_owner(Counted { bytes, _room: room })));
        Ok(response)
    }
}

/// Bytes that give their room back once the connection has sent them.
struct Counted {
    bytes: Bytes,
    _room: Option<Room>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The problem when there is no room for a large answer.
fn no_room() -> Problem {
    Problem::overloaded("Too many large answers are being read. Try again.")
}

/// The answer to a HEAD: without the body, but with its length.
pub(super) async fn without_body(mut response: Response) -> Response {
    let length = response.take_body().into_bytes().await.map_or(0, |bytes| bytes.len());
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: usize) -> Response {
        Response::builder().body(vec![b'x'; bytes])
    }

    #[tokio::test]
    async fn a_large_answer_keeps_its_room_until_it_is_gone() {
        let budget = Arc::new(MemoryBudget::of_mb(MemoryBudget::MB_MIN));
        let (reads, bodies) = (&budget.reads, &budget.bodies);
        let limits = || Limits::new(&budget);
        let large = reads.bytes() / 2 + 1;

        let first = limits().count(&Method::GET, answer(large)).await.unwrap();
        assert!(limits().count(&Method::GET, answer(large)).await.is_err(), "there is no room for a second one");
        assert!(limits().count(&Method::GET, answer(SMALL)).await.is_ok(), "a small one needs none");
        assert_eq!(bodies.taken(), 0, "readers take nothing from others");
        let done = limits().count(&Method::POST, answer(2 * bodies.bytes())).await;
        assert!(
            done.is_ok() && bodies.left() == 0,
            "a change is answered in any case, and takes the room that is left"
        );
        drop((first, done));
        assert_eq!((reads.taken(), bodies.taken()), (0, 0));

        let kept = limits();
        kept.keep(reads.take(large).unwrap());
        let answered = kept.count(&Method::GET, answer(SMALL + 1)).await.unwrap();
        assert_eq!(reads.taken(), SMALL + 1, "it keeps only as much of its room as it needs");
        drop(answered);
        assert_eq!(reads.taken(), 0);
    }

    #[tokio::test]
    async fn waits_are_not_counted() {
        let minute = Duration::from_mins(1);
        let (limits, start) = (Limits::new(&Arc::new(MemoryBudget::of_mb(192))), Instant::now());

        let until = limits.wait(minute, async { limits.time().until }).await;

        assert!(until >= start + minute + ANSWER_WITHIN, "the time is not up during a wait");
        assert!((start + ANSWER_WITHIN..start + minute).contains(&limits.time().until), "the time starts again");
        assert!(limits.waited() < minute, "only the time that the wait took counts");
    }

    #[tokio::test]
    async fn the_problem_names_the_time_limit() {
        let limits = Limits::new(&Arc::new(MemoryBudget::of_mb(192)));
        limits.time().until = Instant::now();

        let problem = limits.over().await;

        assert!(
            serde_json::to_string(&problem).unwrap().contains(&format!("within {} seconds", ANSWER_WITHIN.as_secs()))
        );
    }
}
