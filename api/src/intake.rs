use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::NewOrder;
use orders_shared::store::{Store, StoreError};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::metrics::ApiMetrics;

/// Orders that wait to be written. Full means that the database is slower than the clients: more waiting would only
/// add delay and memory, so further ones are turned away.
const QUEUE_MAX: usize = 4_096;

/// Orders that one commit takes at most. The gain of larger ones is small, and a statement must fit the smallest
/// packet that servers accept by default, 16 MiB.
const BATCH_MAX: usize = 500;

/// Two keep the server busy while the next batch gathers; more make the batches smaller.
const WRITERS: usize = 2;

/// How long a batch is tried again while the database refuses for the moment: longer than it takes to see that a line is
/// dead, so that another one is tried.
const TRY_FOR: Duration = Duration::from_secs(5);

/// Wait before the next try.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Takes orders in: gathers what arrives at the same time into one commit.
///
/// An idle intake writes an order at once. A busy one writes in each commit what came in during the one before, so
/// batches grow with the load and no order ever waits on purpose.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    queue: mpsc::Sender<Waiting>,
}

/// Why an order was not placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many orders wait to be written.
    Full,
    /// The database is away. The order may have been placed if the connection was lost during its commit.
    DatabaseAway,
    /// The database refused the statement: a fault of ours.
    Broken,
}

#[derive(Debug)]
struct Waiting {
    order: NewOrder,
    placed: oneshot::Sender<Result<(), Refused>>,
}

impl Intake {
    /// An intake with its writers, which end when the last clone of the intake is dropped.
    pub(crate) fn start(store: &Store, metrics: &Arc<ApiMetrics>) -> (Self, JoinSet<()>) {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            writers.spawn(write(store.clone(), Arc::clone(&waiting), Arc::clone(metrics)));
        }
        (Self { queue }, writers)
    }

    /// Places one order. `Ok` means that it is on disk.
    pub(crate) async fn place(&self, order: NewOrder) -> Result<(), Refused> {
        let (placed, answer) = oneshot::channel();
        self.queue.try_send(Waiting { order, placed }).map_err(|_| Refused::Full)?;
        answer.await.unwrap_or(Err(Refused::Broken))
    }
}

/// One writer: takes what waits, writes it, answers.
async fn write(store: Store, waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>, metrics: Arc<ApiMetrics>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        if waiting.lock().await.recv_many(&mut batch, BATCH_MAX).await == 0 {
            return;
        }
        let (orders, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|Waiting { order, placed }| (order, placed)).unzip();
        match place(&store, &orders).await {
            // One bad order must not fail its neighbours.
            Err(Refused::Broken) if orders.len() > 1 => {
                for (order, answer) in orders.into_iter().zip(answers) {
                    tell([answer], place(&store, &[order]).await, &metrics);
                }
            }
            placed => tell(answers, placed, &metrics),
        }
    }
}

/// Answers those whose orders one commit placed, or did not.
fn tell(
    answers: impl IntoIterator<Item = oneshot::Sender<Result<(), Refused>>, IntoIter: ExactSizeIterator>,
    placed: Result<(), Refused>,
    metrics: &ApiMetrics,
) {
    let answers = answers.into_iter();
    if placed.is_ok() {
        metrics.placed(answers.len());
    }
    for answer in answers {
        // A client that went away does not read its answer; the order stands.
        let _ = answer.send(placed);
    }
}

/// Places a batch, trying again for a while when the database refuses for the moment.
async fn place(store: &Store, orders: &[NewOrder]) -> Result<(), Refused> {
    let deadline = Instant::now() + TRY_FOR;
    loop {
        let Err(error) = store.place(orders).await else { return Ok(()) };
        let again = error.is_passing() && Instant::now() < deadline;
        log(&error, orders.len(), again);
        if !again {
            return Err(if error.is_passing() { Refused::DatabaseAway } else { Refused::Broken });
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

fn log(error: &StoreError, orders: usize, again: bool) {
    let error = error as &dyn std::error::Error;
    if again {
        tracing::warn!(error, orders, "trying again");
    } else {
        tracing::error!(error, orders, "orders refused");
    }
}
