//! Takes orders in: requests that arrive at the same time share one commit. A commit is mostly a wait for the disk,
//! which takes as long for 500 orders as for one.
//!
//! Invariants: a placed order is on disk; a bad order never fails its neighbours; the queue is bounded, in requests and
//! bytes.

pub(crate) mod fingerprint;
mod placed;
mod rejected;
pub(crate) mod wakeup;

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::{NewOrder, OneOrMore, PlaceOutcome, Placed, Placement};
use orders_shared::store::{ErrorKind, Store, weight_bytes};
use orders_shared::tasks::Tasks;
use tokio::sync::{Mutex, Notify, Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout};

pub(crate) use self::placed::PlacedOrders;
use self::rejected::Rejected;
use self::wakeup::Wakeup;
use crate::memory::{Room, Share};
use crate::metrics::ApiMetrics;

/// Requests that may wait to be written. A full queue means that the database is slower than the clients: a longer
/// queue would only add delay and memory, so further requests are turned away.
const QUEUE_MAX: usize = 4_096;

/// Copies of an order in memory at worst, on its way to the database: the order, its statement, the script around the
/// statement, and the driver's buffer. Each order takes this much room of the
/// [`MemoryBudget`](crate::memory::MemoryBudget), which bounds the memory of large orders as [`QUEUE_MAX`] bounds that
/// of small ones.
const COPIES: usize = 4;

/// Bytes of room that an entry of the metadata takes, however short it is.
const ENTRY_BYTES: usize = 128;

/// A request that takes this many bytes of room is large. A quarter of the room is reserved for smaller requests, so
/// that large ones are turned away first. With a lower threshold, ordinary batches would count as large.
const LARGE: usize = 1 << 20;

/// Orders after which a batch takes no further request. Larger commits gain little.
const BATCH_MAX: usize = 500;

/// Bytes of orders after which a batch takes no further request. With the largest request on top, a batch still fits
/// the smallest packet that servers accept by default, 16 MiB.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Two writers keep the server busy under load: one builds a batch while the other's is written. More would make
/// batches smaller.
pub(crate) const WRITERS: u32 = 2;

/// Bytes of orders, waiting or being written, at which a second batch is written beside the first: about sixty small
/// orders. Fewer wait for the first: two small commits in parallel are slower, and cost the server more, than one
/// larger commit.
const CROWD_BYTES: usize = 16 << 10;

/// How long the other orders wait for the first batch. One that takes longer may be stuck behind a lock or a silent
/// server.
const ALONE_FOR: Duration = Duration::from_millis(10);

/// How long a batch is retried after transient errors: longer than it takes to notice a dead connection, so that
/// another connection is tried.
const TRY_FOR: Duration = Duration::from_secs(5);

/// Pause before a batch is retried.
const BATCH_RETRY_AFTER: Duration = Duration::from_millis(20);

/// Places orders. An idle intake writes an order at once; in a busy one each commit takes what arrived during the
/// commit before it, so that batches grow with the load.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    queue: mpsc::Sender<Waiting>,
    gate: Arc<Gate>,
}

/// Decides when a batch may be written.
#[derive(Debug)]
struct Gate {
    /// Memory for the orders that were taken in and are not stored yet.
    room: Share,
    /// Held while a batch is written, so that it is the only one.
    alone: Semaphore,
    /// Notified when so many orders wait that a second batch may be written.
    crowd: Notify,
}

#[derive(Debug)]
struct Waiting {
    placement: Placement,
    bytes: usize,
    answer: Answer,
}

/// Where the answer to a request goes, with the memory that its orders hold until then.
type Answer = (oneshot::Sender<Outcome>, Room);

/// What became of the orders of one request, with the orders.
type Outcome = Result<(Placed, OneOrMore<NewOrder>), Rejected>;

/// Takes batches from the queue and writes them.
#[derive(Clone)]
struct Writer {
    store: Store,
    waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>,
    gate: Arc<Gate>,
    wakeup: Wakeup,
    metrics: Arc<ApiMetrics>,
}

impl Intake {
    /// Starts the writers, which are added to `tasks` and end when the last clone of the intake is dropped.
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

    /// Places the orders of one request, all or none. They are on disk when this returns them.
    pub(crate) async fn place(&self, placement: Placement) -> Result<PlacedOrders, Rejected> {
        let bytes: usize = placement.orders.iter().map(weight_bytes).sum();
        let entries: usize = placement.orders.iter().map(|order| order.metadata.pairs().len()).sum();
        let room = self.gate.take(COPIES * bytes + ENTRY_BYTES * entries).ok_or(Rejected::Full)?;
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { placement, bytes, answer: (answer, room) };
        self.queue.try_send(waiting).map_err(|_| Rejected::Full)?;
        if self.gate.is_crowd() {
            self.gate.crowd.notify_one();
        }
        let (placed, requested) = answered.await.unwrap_or(Err(Rejected::Broken))?;
        Ok(PlacedOrders::new(placed, requested))
    }
}

impl Gate {
    fn new(room: Share) -> Self {
        Self { room, alone: Semaphore::new(1), crowd: Notify::new() }
    }

    /// Takes room for the orders of one request; `None` if there is too little.
    fn take(&self, bytes: usize) -> Option<Room> {
        let kept = if bytes >= LARGE { self.room.bytes() / 4 } else { 0 };
        let bytes = bytes.min(self.room.bytes() - kept);
        if self.room.left() < bytes + kept { None } else { self.room.take(bytes) }
    }

    fn is_crowd(&self) -> bool {
        self.room.taken() >= COPIES * CROWD_BYTES
    }

    /// Waits until another batch may be written. While the caller holds the permit, a second batch begins only for a
    /// crowd.
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
    /// Writes batch after batch, and answers their requests.
    async fn run(self) {
        loop {
            let mut queue = self.waiting.lock().await;
            let permit = self.gate.open().await;
            let Some(batch) = gather(&mut queue, self.store.statement_bytes_max()).await else { return };
            // From here on the other writer may gather the next batch.
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
            // An order that is bad, or waits for a lock, must not fail its neighbours.
            Err(why @ (Rejected::Broken | Rejected::Locked | Rejected::TooLarge(_))) if placements.len() > 1 => {
                self.write_alone(placements.into_iter().zip(answers).collect(), why).await;
            }
            placed => self.answer(placements, answers, placed),
        }
    }

    /// Writes each placement alone, those that need no lookup first, as they can wait for no other request. After a
    /// lock timeout each is tried only once more, since it has waited long enough. Once the database is away, the rest
    /// are rejected.
    async fn write_alone(&self, mut batch: Vec<(Placement, Answer)>, why: Rejected) {
        batch.sort_by_key(|(placement, _)| placement.needs_lookup());
        let try_for = if why == Rejected::Locked { Duration::ZERO } else { TRY_FOR };
        let mut is_away = false;
        for (placement, answer) in batch {
            let placements = vec![placement];
            let placed = if is_away { Err(Rejected::DatabaseAway) } else { self.place(&placements, try_for).await };
            // A placement without key and external id can only wait for a lock on the table, as the rest would too.
            is_away = matches!(placed, Err(Rejected::DatabaseAway))
                || (matches!(placed, Err(Rejected::Locked)) && !placements.iter().any(Placement::needs_lookup));
            self.answer(placements, [answer], placed);
        }
    }

    /// Places a batch, and retries for a while after transient errors. An error that single orders may have caused is
    /// returned at once, so that the caller can place each alone.
    async fn place(&self, placements: &[Placement], try_for: Duration) -> Result<Vec<PlaceOutcome>, Rejected> {
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
            let orders: usize = placements.iter().map(|placement| placement.orders.count()).sum();
            if matches!(why, Rejected::TooLarge(_)) {
                // The client's fault; the answer says so.
            } else if is_for_all && !again {
                tracing::error!(error = &error as &dyn Error, orders, "orders rejected");
            } else if std::mem::take(&mut is_first) {
                // One line a batch says as much as one for each retry.
                tracing::warn!(error = &error as &dyn Error, orders, "could not place orders yet: retrying");
            }
            if !again {
                return Err(why);
            }
            tokio::time::sleep(BATCH_RETRY_AFTER).await;
        }
    }

    /// Answers the requests of one batch.
    fn answer(
        &self,
        placements: Vec<Placement>,
        answers: impl IntoIterator<Item = Answer>,
        placed: Result<Vec<PlaceOutcome>, Rejected>,
    ) {
        let why = placed.as_ref().err().copied();
        let placed = placed.unwrap_or_default();
        let (mut orders, mut is_any_due) = (0, false);
        for (placement, placed) in placements.iter().zip(&placed) {
            if let Ok(Placed::New { created_at }) = placed {
                orders += placement.orders.count();
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
            // The receiver is gone if the client left; its orders stand.
            let _ = answer.send(placed.and_then(|outcome| Ok((outcome?, orders))));
        }
    }
}

/// Takes the next batch from the queue, and waits for it; `None` once the queue is empty and closed.
async fn gather(waiting: &mut mpsc::Receiver<Waiting>, statement_bytes_max: usize) -> Option<Vec<Waiting>> {
    // Half, so that the batch fits although its last request may be the largest there is.
    let bytes_max = BATCH_BYTES_MAX.min(statement_bytes_max / 2);
    let mut next = Some(waiting.recv().await?);
    let (mut batch, mut orders, mut bytes) = (Vec::new(), 0, 0);
    while let Some(taken) = next {
        orders += taken.placement.orders.count();
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
        assert!(gate.open().now_or_never().is_none(), "the crowd is gone");
        let crowd = gate.take(COPIES * CROWD_BYTES).unwrap();
        assert!(gate.open().now_or_never().is_some(), "there is a crowd");
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
