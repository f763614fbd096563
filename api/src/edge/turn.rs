use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::memory::Room;
use crate::payload::Problem;

/// How long an answer may take, time spent aside not counted. Longer than every limit inside but one: the state of the queue
/// is five calls of 6 s at most, and who asks may wait for another's before. Lower, it would give up what is about to be
/// answered; higher, a fault of ours would hold its caller for longer.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// A request's place among those that are being answered, and the time by which it must be.
///
/// A handler that waits for something other than the work on its answer steps [`aside`](Self::aside) meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Turn(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Arc<Semaphore>,
    held: Mutex<Held>,
    has_read: AtomicBool,
    room: Mutex<Option<Room>>,
    detached: TaskTracker,
}

#[derive(Debug)]
struct Held {
    _place: Option<OwnedSemaphorePermit>,
    until: Instant,
    aside: Duration,
}

impl Turn {
    /// Takes a place; `None` when there is none left. Work that outlives its caller is tracked by `detached`.
    pub(crate) fn take(places: &Arc<Semaphore>, detached: &TaskTracker) -> Option<Self> {
        let place = Arc::clone(places).try_acquire_owned().ok()?;
        let held = Held { _place: Some(place), until: Instant::now() + ANSWER_WITHIN, aside: Duration::ZERO };
        let (held, has_read) = (Mutex::new(held), AtomicBool::new(false));
        let (places, detached) = (Arc::clone(places), detached.clone());
        let inner = Inner { places, held, has_read, room: Mutex::default(), detached };
        Some(Self(Arc::new(inner)))
    }

    /// Gives the place to others while `wait` lasts, `at_most` this long, then takes one again. The time for the answer
    /// begins anew.
    pub(crate) async fn aside<F: Future>(&self, at_most: Duration, wait: F) -> F::Output {
        let (start, before) = (Instant::now(), self.time_aside());
        *self.held() = Held { _place: None, until: start + at_most + ANSWER_WITHIN, aside: before };
        let output = wait.await;
        let aside = before + start.elapsed();
        // The places are never closed.
        let place = Arc::clone(&self.0.places).acquire_owned().await.ok();
        *self.held() = Held { _place: place, until: Instant::now() + ANSWER_WITHIN, aside };
        output
    }

    /// Does `work` to its end, whether or not the caller stays for it: a change that was begun is made, and a connection to the
    /// database is not closed in the middle of its answer. It keeps the place until then. What is given must itself have a
    /// limit. Its panic is a problem of the caller.
    pub(crate) async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.clone();
        let work = async move {
            let output = work.await;
            drop(turn);
            output
        };
        let done = self.0.detached.spawn(work.in_current_span()).await;
        done.map_err(|error| Problem::internal().because(&error))
    }

    /// How long its waits took: time that the work on the answer did not.
    pub(crate) fn time_aside(&self) -> Duration {
        self.held().aside
    }

    /// The body is here in full.
    pub(crate) fn body_is_read(&self) {
        self.0.has_read.store(true, Ordering::Relaxed);
    }

    /// Whether the body is here in full.
    pub(crate) fn has_read_body(&self) -> bool {
        self.0.has_read.load(Ordering::Relaxed)
    }

    /// Keeps room for the answer until it is gone.
    pub(crate) fn keep(&self, room: Room) {
        *self.0.room.lock().unwrap_or_else(PoisonError::into_inner) = Some(room);
    }

    /// The room that was kept for the answer.
    pub(crate) fn take_room(&self) -> Option<Room> {
        self.0.room.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until the time for the answer is over.
    pub(crate) async fn over(&self) {
        loop {
            let until = self.held().until;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use poem::error::ResponseError;
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    fn turn() -> (Arc<Semaphore>, Turn) {
        let places = Arc::new(Semaphore::new(1));
        let turn = Turn::take(&places, &TaskTracker::new()).unwrap();
        (places, turn)
    }

    #[tokio::test]
    async fn work_whose_caller_left_is_done_in_its_place() {
        let (go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (places, turn) = turn();
        let work = turn.detached({
            let (go, done) = (Arc::clone(&go), Arc::clone(&done));
            async move {
                go.notified().await;
                done.notify_one();
            }
        });

        assert!(timeout(Duration::from_millis(10), work).await.is_err(), "the caller leaves first");
        let detached = turn.0.detached.clone();
        drop(turn);
        assert_eq!(places.available_permits(), 0, "the work has the place");
        go.notify_one();

        done.notified().await;
        detached.close();
        detached.wait().await;
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_panic_of_detached_work_is_a_problem_of_the_caller() {
        let (_, turn) = turn();

        let problem = turn.detached(async { panic!("the secret of order 17") }).await.unwrap_err();

        assert_eq!(problem.status(), 500);
        assert!(!problem.json().contains("secret"));
    }

    #[tokio::test]
    async fn who_steps_aside_leaves_a_place_to_others_and_has_one_again_afterwards() {
        let places = Arc::new(Semaphore::new(1));
        let turn = Turn::take(&places, &TaskTracker::new()).unwrap();
        assert!(Turn::take(&places, &TaskTracker::new()).is_none());

        turn.aside(Duration::from_mins(1), async {
            assert!(Turn::take(&places, &TaskTracker::new()).is_some());
        })
        .await;

        assert!(Turn::take(&places, &TaskTracker::new()).is_none());
        drop(turn);
        assert!(Turn::take(&places, &TaskTracker::new()).is_some());
    }

    #[tokio::test]
    async fn time_aside_is_not_counted() {
        let minute = Duration::from_mins(1);
        let turn = Turn::take(&Arc::new(Semaphore::new(1)), &TaskTracker::new()).unwrap();

        let start = Instant::now();
        let until_aside = turn.aside(minute, async { turn.held().until }).await;

        assert!(until_aside >= start + minute + ANSWER_WITHIN, "while it waits it is not over");
        assert!(turn.held().until >= start + ANSWER_WITHIN, "it begins anew");
        assert!(turn.held().until < start + minute);
        assert!(turn.time_aside() < minute, "it waited for less than it might");
    }
}
