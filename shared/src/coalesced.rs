//! One answer for all who ask the same question at the same time.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// The most callers that one reading serves; more wait for a later one.
const WAITING_MAX: usize = 1_024;

/// Asks for an answer that is read once for all callers that came before the reading began. So no answer is older than
/// its question, and a crowd of callers takes one connection to the database.
#[derive(Debug)]
pub struct Coalesced<T>(mpsc::Sender<oneshot::Sender<T>>);

/// Reads the answers for the callers of a [`Coalesced`].
#[derive(Debug)]
pub struct Reader<T> {
    asked: mpsc::Receiver<oneshot::Sender<T>>,
    apart: Duration,
}

impl<T> Clone for Coalesced<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone> Coalesced<T> {
    /// Readings begin at least this far apart.
    #[must_use]
    pub fn new(apart: Duration) -> (Self, Reader<T>) {
        let (ask, asked) = mpsc::channel(WAITING_MAX);
        (Self(ask), Reader { asked, apart })
    }

    /// The result of the next reading; `None` if the reader has stopped.
    pub async fn read(&self) -> Option<T> {
        let (caller, answer) = oneshot::channel();
        self.0.send(caller).await.ok()?;
        answer.await.ok()
    }
}

impl<T: Clone> Reader<T> {
    /// Reads whenever someone asks, until the last clone of the [`Coalesced`] is dropped.
    pub async fn run<F: Future<Output = T>>(mut self, read: impl Fn() -> F) {
        let mut callers = Vec::new();
        let mut next = Instant::now();
        while self.asked.recv_many(&mut callers, WAITING_MAX).await > 0 {
            sleep_until(next).await;
            // Callers that came in the meantime are served too.
            while let Ok(caller) = self.asked.try_recv() {
                callers.push(caller);
            }
            callers.retain(|caller| !caller.is_closed());
            if callers.is_empty() {
                continue;
            }
            next = Instant::now() + self.apart;
            let answer = read().await;
            for caller in callers.drain(..) {
                let _ = caller.send(answer.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn a_crowd_is_served_by_few_readings_each_begun_after_its_callers_asked() {
        let (coalesced, reader) = Coalesced::new(Duration::ZERO);
        let readings = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&readings);
        let reading = tokio::spawn(reader.run(move || {
            let reading = counting.fetch_add(1, Ordering::Relaxed);
            async move { reading }
        }));

        let answers = join_all((0..500).map(|_| coalesced.read())).await;
        let later = coalesced.read().await;

        assert!(answers.iter().all(Option::is_some));
        assert!(readings.load(Ordering::Relaxed) <= 4, "{readings:?}");
        assert!(later > answers.into_iter().max().flatten(), "a later question gets a later answer");
        drop(coalesced);
        reading.await.unwrap();
    }
}
