//! Takes orders in: gathers what arrives at the same time into one commit. A commit costs mostly the wait for the disk,
//! which is the same for one order and for 500.
//!
//! Invariants: what is placed is on disk; a bad order never fails its neighbours; the queue is bounded, in requests and
//! bytes.

pub(crate) mod fingerprint;
pub(crate) mod wakeup;

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::{NewOrder, Placed, Placement};
use orders_shared::store::{ErrorKind, Store, weight_bytes};
use orders_shared::tasks::Tasks;
use tokio::sync::{Mutex, Notify, Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use self::wakeup::Wakeup;
use crate::memory::{Room, Share};
use crate::metrics::ApiMetrics;
use crate::problems::{Kind, Problem};

/// Requests that wait to be written. Full means that the database is slower than the clients: more waiting would only
/// add delay and memory, so further ones are turned away.
const QUEUE_MAX: usize = 4_096;

/// How often an order is in memory at worst, as it travels to the database: as itself, in its statement, in the script around
/// that, and in what the driver sends. So much room each one takes of the [`MemoryBudget`](crate::memory::MemoryBudget), which
/// bounds the memory of large orders as [`QUEUE_MAX`] does that of small ones.
const COPIES: usize = 4;

/// Bytes of room that an entry of its metadata takes, however short.
const ENTRY_BYTES: usize = 128;

/// Bytes of room from which on a request is large: a quarter of the room is for those that are not, so that large ones are
/// turned away first. Lower, usual batches would count among the large ones.
const LARGE: usize = 1 << 20;

/// Orders that one commit takes, or as many more as one request has. The gain of larger ones is small.
const BATCH_MAX: usize = 500;

/// Bytes of orders that one commit takes, or as many more as one request has: together they fit the smallest packet that
/// servers accept by default, 16 MiB.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Under load two keep the server busy: while one batch is written, the next one is made. More make the batches smaller.
pub(crate) const WRITERS: u32 = 2;

/// Bytes of orders, waiting or being written, at which a second batch is written beside the first: some sixty small ones. Fewer
/// wait for the end of that one: two small commits in parallel are slower, and cost the server more, than one larger commit.
const CROWD_BYTES: usize = 16 << 10;

/// How long they wait. A batch that takes longer may wait for a lock, or for a server that is silent.
const ALONE_FOR: Duration = Duration::from_millis(10);

/// How long a batch is tried again while the database refuses for the moment: longer than it takes to see that a line is
/// dead, so that another one is tried.
const TRY_FOR: Duration = Duration::from_secs(5);

/// Wait before the next try of a batch.
const BATCH_RETRY_AFTER: Duration = Duration::from_millis(20);

/// An idle intake writes an order at once. A busy one writes in each commit what came in during the one before, so that
/// batches grow with the load.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    queue: mpsc::Sender<Waiting>,
    gate: Arc<Gate>,
}

/// When a batch is written.
#[derive(Debug)]
struct Gate {
    /// For the orders that are taken in and not stored yet.
    room: Share,
    /// For the only batch that is written.
    alone: Semaphore,
    /// Notified when more is taken in than one batch at a time is for.
    crowd: Notify,
}

/// Why a request's orders were not placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejected {
    #[error("too many orders wait to be written")]
    Full,
    /// The database is away. The orders may have been placed, or may be yet, if it has them and only its answer did not come.
    #[error("the database did not take the orders; the log of the intake says why")]
    DatabaseAway,
    #[error("an order waits for a lock that somebody else keeps; the log of the intake says more")]
    Locked,
    #[error("the database accepts {0} bytes at once, and the orders have more")]
    TooLarge(usize),
    /// The database refused the statement: a fault of ours.
    #[error("the database refuses the orders; the log of the intake says why")]
    Broken,
}

#[derive(Debug)]
struct Waiting {
    placement: Placement,
    bytes: usize,
    answer: Answer,
}

/// Where the answer to a request goes, and the room of its orders until then.
type Answer = (oneshot::Sender<Outcome>, Room);

/// What became of the orders of one request, and the orders.
type Outcome = Result<(Placed, Vec<NewOrder>), Rejected>;

/// What the writers share.
#[derive(Clone)]
struct Writer {
    store: Store,
    waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>,
    gate: Arc<Gate>,
    wakeup: Wakeup,
    metrics: Arc<ApiMetrics>,
}

impl Intake {
    /// An intake. Its writers, which are added to `tasks`, end when its last clone is dropped.
    pub(crate) fn start(
        store: &Store,
        room: &Share,
        wakeup: &Wakeup,
        metrics: &Arc<ApiMetrics>,
        tasks: &mut Tasks,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let gate = Arc::new(Gate::new(room.clone()));
        let writer = Writer {
            store: store.clone(),
            waiting: Arc::new(Mutex::new(waiting)),
            gate: Arc::clone(&gate),
            wakeup: wakeup.clone(),
            metrics: Arc::clone(metrics),
        };
        for _ in 0..WRITERS {
            tasks.spawn("intake", writer.clone().run());
        }
        Self { queue, gate }
    }

    /// Places the orders of one request, all or none, and gives them back. [`Placed::New`] means that they are on disk.
    pub(crate) async fn place(&self, placement: Placement) -> Outcome {
        let bytes: usize = placement.orders.iter().map(weight_bytes).sum();
        let entries: usize = placement.orders.iter().map(|order| order.metadata.pairs().len()).sum();
        let room = self.gate.take(COPIES * bytes + ENTRY_BYTES * entries).ok_or(Rejected::Full)?;
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { placement, bytes, answer: (answer, room) };
        self.queue.try_send(waiting).map_err(|_| Rejected::Full)?;
        if self.gate.is_crowd() {
            self.gate.crowd.notify_one();
        }
        answered.await.unwrap_or(Err(Rejected::Broken))
    }
}

impl Rejected {
    /// The problem; `needs_lookup` tells whether the request may have waited for another one.
    pub(crate) fn problem(self, needs_lookup: bool) -> Problem {
        let problem = match self {
            Self::Full => return Problem::overloaded("Too many orders wait to be written. Try again."),
            Self::Locked if needs_lookup => Problem::plain(Kind::RequestInProgress),
            Self::Locked | Self::DatabaseAway => Problem::database_away(),
            Self::TooLarge(bytes_max) => {
                let detail = format!(
                    "The database accepts {bytes_max} bytes at once, and these orders take more there. Nothing was \
                     placed: send fewer at once, with less metadata."
                );
                Problem::new(Kind::BodyTooLarge, detail)
            }
            Self::Broken => Problem::internal(),
        };
        problem.because(&self)
    }
}

impl Gate {
    fn new(room: Share) -> Self {
        Self { room, alone: Semaphore::new(1), crowd: Notify::new() }
    }

    /// Room for the orders of one request.
    fn take(&self, bytes: usize) -> Option<Room> {
        let kept = if bytes >= LARGE { self.room.bytes() / 4 } else { 0 };
        let bytes = bytes.min(self.room.bytes() - kept);
        if self.room.left() < bytes + kept { None } else { self.room.take(bytes) }
    }

    fn is_crowd(&self) -> bool {
        self.room.taken() >= COPIES * CROWD_BYTES
    }

    /// Waits until another batch may be written. While its caller keeps what this gives, only a crowd lets one more begin.
    async fn open(&self) -> Option<SemaphorePermit<'_>> {
        while !self.is_crowd() {
            tokio::select! {
                biased;
                permit = self.alone.acquire() => return permit.ok(),
                () = self.crowd.notified() => {}
            }
        }
        self.alone.try_acquire().ok()
    }
}

impl Writer {
    /// Takes what waits, writes it, answers.
    async fn run(self) {
        loop {
            let mut queue = self.waiting.lock().await;
            let permit = self.gate.open().await;
            let Some(batch) = gather(&mut queue, self.store.statement_bytes_max()).await else { return };
            // The other writer is next, once the gate is open.
            drop(queue);
            let mut written = pin!(self.write(batch));
            if timeout(ALONE_FOR, &mut written).await.is_err() {
                drop(permit);
                written.await;
            }
        }
    }

    async fn write(&self, batch: Vec<Waiting>) {
        let (placements, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|Waiting { placement, answer, .. }| (placement, answer)).unzip();
        match self.place(&placements, TRY_FOR).await {
            // One order that is bad, or waits for a lock, must not fail its neighbours.
            Err(why @ (Rejected::Broken | Rejected::Locked | Rejected::TooLarge(_))) if placements.len() > 1 => {
                self.write_alone(placements.into_iter().zip(answers).collect(), why).await;
            }
            placed => self.answer(placements, answers, placed),
        }
    }

    /// Writes each alone, those first that can wait for nobody. What waits for a lock has waited long enough already, and is
    /// tried once more; when the database goes away, it is away for all that are left.
    async fn write_alone(&self, mut batch: Vec<(Placement, Answer)>, why: Rejected) {
        batch.sort_by_key(|(placement, _)| placement.needs_lookup());
        let try_for = if why == Rejected::Locked { Duration::ZERO } else { TRY_FOR };
        let mut is_away = false;
        for (placement, answer) in batch {
            let placements = vec![placement];
            let placed = if is_away { Err(Rejected::DatabaseAway) } else { self.place(&placements, try_for).await };
            // One that can wait for nobody's key or id waits for a lock on the table, as all that are left would.
            is_away = matches!(placed, Err(Rejected::DatabaseAway))
                || (matches!(placed, Err(Rejected::Locked)) && !placements.iter().any(Placement::needs_lookup));
            self.answer(placements, [answer], placed);
        }
    }

    /// Places a batch, trying again for a while when the database refuses for the moment. Where only some of its orders may
    /// be the reason, each is to be placed alone.
    async fn place(&self, placements: &[Placement], try_for: Duration) -> Result<Vec<Placed>, Rejected> {
        let deadline = Instant::now() + try_for;
        let mut is_first = true;
        loop {
            let error = match self.store.place(placements).await {
                Ok(placed) => return Ok(placed),
                Err(error) => error,
            };
            let why = match error.kind() {
                ErrorKind::Locked => Rejected::Locked,
                ErrorKind::TooLarge => Rejected::TooLarge(self.store.statement_bytes_max()),
                kind if kind.is_passing() => Rejected::DatabaseAway,
                _ => Rejected::Broken,
            };
            let is_for_all = placements.len() == 1 || why == Rejected::DatabaseAway;
            let may_pass = matches!(why, Rejected::DatabaseAway | Rejected::Locked);
            let again = is_for_all && may_pass && Instant::now() < deadline;
            let orders: usize = placements.iter().map(|placement| placement.orders.len()).sum();
            if matches!(why, Rejected::TooLarge(_)) {
                // The client's affair, who is told.
            } else if is_for_all && !again {
                tracing::error!(error = &error as &dyn Error, orders, "orders rejected");
            } else if std::mem::take(&mut is_first) {
                // Of what passes soon, a line a batch says as much as one for each try.
                tracing::warn!(error = &error as &dyn Error, orders, "trying again");
            }
            if !again {
                return Err(why);
            }
            tokio::time::sleep(BATCH_RETRY_AFTER).await;
        }
    }

    /// Answers those whose orders one commit placed, or did not.
    fn answer(
        &self,
        placements: Vec<Placement>,
        answers: impl IntoIterator<Item = Answer>,
        placed: Result<Vec<Placed>, Rejected>,
    ) {
        let why = placed.as_ref().err().copied();
        let placed = placed.unwrap_or_default();
        let (mut orders, mut is_any_due) = (0, false);
        for (placement, placed) in placements.iter().zip(&placed) {
            if let Placed::New { created_at } = placed {
                orders += placement.orders.len();
                is_any_due |= placement.is_any_due(*created_at);
            }
        }
        if is_any_due {
            self.wakeup.notify();
        }
        if orders > 0 {
            self.metrics.placed(orders);
        }
        let mut placed = placed.into_iter();
        for (Placement { orders, .. }, (answer, _room)) in placements.into_iter().zip(answers) {
            let placed = placed.next().ok_or(why.unwrap_or(Rejected::Broken));
            // A client that went away does not read its answer; the orders stand.
            let _ = answer.send(placed.map(|placed| (placed, orders)));
        }
    }
}

/// What one commit takes; `None` when there is nothing and will be nothing.
async fn gather(waiting: &mut mpsc::Receiver<Waiting>, statement_bytes_max: usize) -> Option<Vec<Waiting>> {
    // A batch ends before it is too large, where the largest request that may come would make it so.
    let bytes_max = BATCH_BYTES_MAX.min(statement_bytes_max / 2);
    let mut next = Some(waiting.recv().await?);
    let (mut batch, mut orders, mut bytes) = (Vec::new(), 0, 0);
    while let Some(taken) = next {
        orders += taken.placement.orders.len();
        bytes += taken.bytes;
        batch.push(taken);
        let is_full = orders >= BATCH_MAX || bytes >= bytes_max;
        next = if is_full { None } else { waiting.try_recv().ok() };
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn only_a_crowd_lets_a_second_batch_be_written_beside_the_first() {
        let gate = Gate::new(Share::of(64 << 20));
        let only = gate.open().await;
        assert!(only.is_some());

        gate.crowd.notify_one();
        assert!(gate.open().now_or_never().is_none(), "a crowd that is gone");
        let crowd = gate.take(COPIES * CROWD_BYTES).unwrap();
        assert!(gate.open().now_or_never().is_some(), "there is one");
        drop(crowd);

        let mut second = Box::pin(gate.open());
        assert!((&mut second).now_or_never().is_none());
        drop(only);
        assert!(second.await.is_some());
    }

    #[test]
    fn large_requests_leave_room_for_small_ones() {
        let gate = Gate::new(Share::of(16 * LARGE));

        let large: Vec<_> = std::iter::from_fn(|| gate.take(LARGE)).collect();
        assert_eq!(large.len(), 12);
        let small: Vec<_> = std::iter::from_fn(|| gate.take(LARGE / 2)).collect();
        assert_eq!(small.len(), 8);
        drop((large, small));

        let huge = gate.take(100 * LARGE);
        assert!(huge.is_some() && gate.take(LARGE).is_none() && gate.take(LARGE / 2).is_some());
    }
}
