use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::memory::Room;

/// How long an answer may take, time spent aside not counted. Longer than every limit inside, of which the state of the
/// queue has the largest, three calls of 5 s, so that it shows only what forgot to have one. Lower, it would give up what is
/// about to be answered; higher, a fault of ours would hold its caller for longer.
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
}

#[derive(Debug)]
struct Held {
    _place: Option<OwnedSemaphorePermit>,
    until: Instant,
    aside: Duration,
}

impl Turn {
    /// Takes a place; `None` when there is none left.
    pub(crate) fn take(places: &Arc<Semaphore>) -> Option<Self> {
        let place = Arc::clone(places).try_acquire_owned().ok()?;
        let held = Held { _place: Some(place), until: Instant::now() + ANSWER_WITHIN, aside: Duration::ZERO };
        let (held, has_read) = (Mutex::new(held), AtomicBool::new(false));
        let inner = Inner { places: Arc::clone(places), held, has_read, room: Mutex::default() };
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
    use super::*;

    #[tokio::test]
    async fn who_steps_aside_leaves_a_place_to_others_and_has_one_again_afterwards() {
        let places = Arc::new(Semaphore::new(1));
        let turn = Turn::take(&places).unwrap();
        assert!(Turn::take(&places).is_none());

        turn.aside(Duration::from_mins(1), async {
            assert!(Turn::take(&places).is_some());
        })
        .await;

        assert!(Turn::take(&places).is_none());
        drop(turn);
        assert!(Turn::take(&places).is_some());
    }

    #[tokio::test]
    async fn time_aside_is_not_counted() {
        let minute = Duration::from_mins(1);
        let turn = Turn::take(&Arc::new(Semaphore::new(1))).unwrap();

        let start = Instant::now();
        let until_aside = turn.aside(minute, async { turn.held().until }).await;

        assert!(until_aside >= start + minute + ANSWER_WITHIN, "while it waits it is not over");
        assert!(turn.held().until >= start + ANSWER_WITHIN, "it begins anew");
        assert!(turn.held().until < start + minute);
        assert!(turn.time_aside() < minute, "it waited for less than it might");
    }
}
