use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::{NewOrder, Placed, Placement};
use orders_shared::store::{ErrorKind, Store, StoreError, weight_bytes};
use orders_shared::tasks::Tasks;
use tokio::sync::{Mutex, Notify, Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::bell::Bell;
use crate::memory::{Room, Share};
use crate::metrics::ApiMetrics;

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
/// wait for the end of that one: of two small commits at the same time each takes longer, and both together more of the
/// server's time than one for all.
const CROWD_BYTES: usize = 16 << 10;

/// How long they wait. A batch that takes longer may wait for a lock, or for a server that is silent.
const PATIENCE: Duration = Duration::from_millis(10);

/// How long a batch is tried again while the database refuses for the moment: longer than it takes to see that a line is
/// dead, so that another one is tried.
const TRY_FOR: Duration = Duration::from_secs(5);

/// Wait before the next try.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Takes orders in: gathers what arrives at the same time into one commit.
///
/// An idle intake writes an order at once. A busy one writes in each commit what came in during the one before, so that
/// batches grow with the load.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    queue: mpsc::Sender<Waiting>,
    turns: Arc<Turns>,
}

/// When a batch is written.
#[derive(Debug)]
struct Turns {
    /// For the orders that are taken in and not stored yet.
    room: Share,
    /// For the only batch that is written.
    alone: Semaphore,
    /// Notified when more is taken in than one batch at a time is for.
    crowd: Notify,
}

/// Why a request's orders were not placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Too many orders wait to be written.
    #[error("too many orders wait to be written")]
    Full,
    /// The database is away. The orders may have been placed, or may be yet, if it has them and only its answer did not come.
    #[error("the database did not take the orders; the log of the intake says why")]
    DatabaseAway,
    /// Somebody else keeps a lock that one of the orders needs.
    #[error("an order waits for a lock that somebody else keeps; the log of the intake says more")]
    Locked,
    /// The orders have more bytes than the database accepts at once, which is so many.
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
    placed: oneshot::Sender<Told>,
    room: Room,
}

/// What became of the orders of one request, and the orders.
type Told = Result<(Placed, Vec<NewOrder>), Refused>;

impl Intake {
    /// An intake. Its writers, which are added to `tasks`, end when its last clone is dropped.
    pub(crate) fn start(
        store: &Store,
        room: &Share,
        bell: &Bell,
        metrics: &Arc<ApiMetrics>,
        tasks: &mut Tasks,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        let turns = Arc::new(Turns::new(room.clone()));
        for _ in 0..WRITERS {
            let (waiting, turns) = (Arc::clone(&waiting), Arc::clone(&turns));
            tasks.spawn("intake", write(store.clone(), waiting, turns, bell.clone(), Arc::clone(metrics)));
        }
        Self { queue, turns }
    }

    /// Places the orders of one request, all or none, and gives them back. [`Placed::New`] means that they are on disk.
    pub(crate) async fn place(&self, placement: Placement) -> Told {
        let bytes: usize = placement.orders.iter().map(weight_bytes).sum();
        let entries: usize = placement.orders.iter().map(|order| order.metadata.pairs().len()).sum();
        let room = self.turns.take(COPIES * bytes + ENTRY_BYTES * entries).ok_or(Refused::Full)?;
        let (placed, answer) = oneshot::channel();
        self.queue.try_send(Waiting { placement, bytes, placed, room }).map_err(|_| Refused::Full)?;
        if self.turns.is_crowd() {
            self.turns.crowd.notify_one();
        }
        answer.await.unwrap_or(Err(Refused::Broken))
    }
}

impl Turns {
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
    async fn next(&self) -> Option<SemaphorePermit<'_>> {
        while !self.is_crowd() {
            tokio::select! {
                biased;
                turn = self.alone.acquire() => return turn.ok(),
                () = self.crowd.notified() => {}
            }
        }
        self.alone.try_acquire().ok()
    }
}

/// One writer: takes what waits, writes it, answers.
async fn write(
    store: Store,
    waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>,
    turns: Arc<Turns>,
    bell: Bell,
    metrics: Arc<ApiMetrics>,
) {
    loop {
        let mut queue = waiting.lock().await;
        let turn = turns.next().await;
        let Some(batch) = gather(&mut queue, store.statement_bytes_max()).await else { return };
        // The other writer is next, once it has its turn.
        drop(queue);
        let mut written = pin!(write_batch(&store, batch, &bell, &metrics));
        if timeout(PATIENCE, &mut written).await.is_err() {
            drop(turn);
            written.await;
        }
    }
}

async fn write_batch(store: &Store, batch: Vec<Waiting>, bell: &Bell, metrics: &ApiMetrics) {
    let (placements, answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|Waiting { placement, placed, room, .. }| (placement, (placed, room))).unzip();
    match place(store, &placements, TRY_FOR).await {
        // One order that is bad, or waits for a lock, must not fail its neighbours.
        Err(refused @ (Refused::Broken | Refused::Locked | Refused::TooLarge(_))) if placements.len() > 1 => {
            place_alone(store, placements.into_iter().zip(answers).collect(), refused, bell, metrics).await;
        }
        placed => tell(placements, answers, placed, bell, metrics),
    }
}

/// Places each alone, those first that can wait for nobody. What waits for a lock has waited long enough already, and is
/// tried once more; when the database goes away, it is away for all that are left.
async fn place_alone(
    store: &Store,
    mut batch: Vec<(Placement, Answer)>,
    why: Refused,
    bell: &Bell,
    metrics: &ApiMetrics,
) {
    batch.sort_by_key(|(placement, _)| placement.needs_lookup());
    let try_for = if why == Refused::Locked { Duration::ZERO } else { TRY_FOR };
    let mut is_away = false;
    for (placement, answer) in batch {
        let placements = vec![placement];
        let placed = if is_away { Err(Refused::DatabaseAway) } else { place(store, &placements, try_for).await };
        // One that can wait for nobody's key or id waits for a lock on the table, as all that are left would.
        is_away = matches!(placed, Err(Refused::DatabaseAway))
            || (matches!(placed, Err(Refused::Locked)) && !placements.iter().any(Placement::needs_lookup));
        tell(placements, [answer], placed, bell, metrics);
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

type Answer = (oneshot::Sender<Told>, Room);

/// Answers those whose orders one commit placed, or did not.
fn tell(
    placements: Vec<Placement>,
    answers: impl IntoIterator<Item = Answer>,
    placed: Result<Vec<Placed>, Refused>,
    bell: &Bell,
    metrics: &ApiMetrics,
) {
    let refused = placed.as_ref().err().copied();
    let placed = placed.unwrap_or_default();
    let (mut orders, mut is_any_due) = (0, false);
    for (placement, placed) in placements.iter().zip(&placed) {
        if let Placed::New { created_at } = placed {
            orders += placement.orders.len();
            is_any_due |= placement.is_any_due(*created_at);
        }
    }
    if is_any_due {
        bell.ring();
    }
    if orders > 0 {
        metrics.placed(orders);
    }
    let mut placed = placed.into_iter();
    for (Placement { orders, .. }, (answer, _room)) in placements.into_iter().zip(answers) {
        let placed = placed.next().ok_or(refused.unwrap_or(Refused::Broken));
        // A client that went away does not read its answer; the orders stand.
        let _ = answer.send(placed.map(|placed| (placed, orders)));
    }
}

/// Places a batch, trying again for a while when the database refuses for the moment. Where only some of its orders may
/// be the reason, their writer places each alone.
async fn place(store: &Store, placements: &[Placement], try_for: Duration) -> Result<Vec<Placed>, Refused> {
    let deadline = Instant::now() + try_for;
    let mut is_first = true;
    loop {
        let error = match store.place(placements).await {
            Ok(placed) => return Ok(placed),
            Err(error) => error,
        };
        let refused = match error.kind() {
            ErrorKind::Locked => Refused::Locked,
            ErrorKind::TooLarge => Refused::TooLarge(store.statement_bytes_max()),
            kind if kind.is_passing() => Refused::DatabaseAway,
            _ => Refused::Broken,
        };
        let is_for_all = placements.len() == 1 || refused == Refused::DatabaseAway;
        let may_pass = matches!(refused, Refused::DatabaseAway | Refused::Locked);
        let again = is_for_all && may_pass && Instant::now() < deadline;
        match refused {
            // The client's affair, who is told.
            Refused::TooLarge(_) => {}
            _ if again || !is_for_all => {
                // Of what passes soon, a line a batch says as much as one for each try.
                if std::mem::take(&mut is_first) {
                    log(&error, placements, true);
                }
            }
            _ => log(&error, placements, false),
        }
        if !again {
            return Err(refused);
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

fn log(error: &StoreError, placements: &[Placement], again: bool) {
    let orders: usize = placements.iter().map(|placement| placement.orders.len()).sum();
    let error = error as &dyn std::error::Error;
    if again {
        tracing::warn!(error, orders, "trying again");
    } else {
        tracing::error!(error, orders, "orders refused");
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn only_a_crowd_lets_a_second_batch_be_written_beside_the_first() {
        let turns = Turns::new(Share::of(64 << 20));
        let only = turns.next().await;
        assert!(only.is_some());

        turns.crowd.notify_one();
        assert!(turns.next().now_or_never().is_none(), "a crowd that is gone");
        let crowd = turns.take(COPIES * CROWD_BYTES).unwrap();
        assert!(turns.next().now_or_never().is_some(), "there is one");
        drop(crowd);

        let mut second = Box::pin(turns.next());
        assert!((&mut second).now_or_never().is_none());
        drop(only);
        assert!(second.await.is_some());
    }

    #[test]
    fn large_requests_leave_room_for_small_ones() {
        let turns = Turns::new(Share::of(16 * LARGE));

        let large: Vec<_> = std::iter::from_fn(|| turns.take(LARGE)).collect();
        assert_eq!(large.len(), 12);
        let small: Vec<_> = std::iter::from_fn(|| turns.take(LARGE / 2)).collect();
        assert_eq!(small.len(), 8);
        drop((large, small));

        let huge = turns.take(100 * LARGE);
        assert!(huge.is_some() && turns.take(LARGE).is_none() && turns.take(LARGE / 2).is_some());
    }
}
