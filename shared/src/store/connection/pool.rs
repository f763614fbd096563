//! The connections of one process to its database.
//!
//! Connections are opened in tasks of their own, few at once, which outlive those who asked for them: a handshake that is
//! broken off counts against this host, and after `max_connect_errors` of them in a row the server shuts it out until an
//! administrator lets it in again. So a server that is frozen is waited out, and a caller that goes away ends no handshake.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::{Connection, MySqlConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::error::{ErrorKind, Unconnected};
use super::open::{Opener, Opening};
use super::settings::StoreSettings;

/// A connection that has rested for longer is tried before it is used: the server may have closed it or been restarted.
const TRIED_AFTER_IDLE: Duration = Duration::from_secs(1);

/// How long its answer is waited for then. A line that carries nothing any more is best given up at once.
const TRIED_FOR: Duration = Duration::from_millis(500);

/// A connection that has rested for so long is closed, before the server does that, after `wait_timeout`.
const KEPT_IDLE: Duration = Duration::from_secs(10);

/// A connection is closed at this age, however busy: the address may have come to mean another server, and sessions grow.
const KEPT: Duration = Duration::from_mins(30);

/// Between two looks for such connections.
const LOOK: Duration = Duration::from_secs(5);

/// How long a server may take to be told goodbye.
const GOODBYE_LIMIT: Duration = Duration::from_millis(200);

/// Whom a connection is for. Each has connections of its own, so that none holds another up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Lane {
    /// What the program paces itself: the intake's commits; in a worker claims, outcomes and rescues.
    Work,
    /// What it reads once for everybody: readiness, counts, the queue, who is waited for.
    Watch,
    /// What callers ask for, each for himself.
    Callers,
}

impl Lane {
    const COUNT: usize = 3;

    /// How long a connection is waited for. Work has nothing better to do; a caller is better told soon to come again.
    pub(super) const fn patience(self) -> Duration {
        match self {
            Self::Work => Duration::from_secs(3),
            Self::Watch | Self::Callers => Duration::from_secs(1),
        }
    }
}

/// The connections of one process. Cheap to clone.
#[derive(Clone)]
pub(in crate::store) struct Pool(Arc<Shared>);

pub(super) struct Shared {
    pub(super) opener: Opener,
    /// As many permits as a lane may have connections.
    lanes: [Arc<Semaphore>; Lane::COUNT],
    max_connections: usize,
    /// Connections that are open, at rest or in use.
    open: Arc<AtomicUsize>,
    state: Mutex<State>,
}

pub(super) struct State {
    /// The one used last is used next, so that there are no more than it takes.
    idle: Vec<Pooled>,
    waiting: [VecDeque<oneshot::Sender<Arrival>>; Lane::COUNT],
    pub(super) opening: Opening,
    /// Connections of an earlier generation are closed when they come back.
    pub(super) generation: u64,
    is_closed: bool,
}

/// A connection for somebody who waits, or why there is none.
type Arrival = Result<Pooled, Unconnected>;

/// A connection that nobody uses at the moment.
pub(super) struct Pooled {
    connection: MySqlConnection,
    generation: u64,
    opened_at: Instant,
    rests_since: Instant,
    _counted: Counted,
}

/// Counts a connection as open until this is dropped.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection in use. Dropping it closes it; [`Taken::give_back`] keeps it.
pub(in crate::store) struct Taken {
    pooled: Pooled,
    pool: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    /// Opens no connection yet.
    pub(in crate::store) fn new(settings: StoreSettings) -> Self {
        let lanes = lanes(settings.max_connections as usize, settings.work_connections as usize);
        let state = State {
            idle: Vec::new(),
            waiting: Default::default(),
            opening: Opening::default(),
            generation: 0,
            is_closed: false,
        };
        let shared = Arc::new(Shared {
            lanes,
            max_connections: settings.max_connections as usize,
            opener: Opener::new(settings),
            open: Arc::default(),
            state: Mutex::new(state),
        });
        tokio::spawn(close_unused(Arc::downgrade(&shared)));
        Self(shared)
    }

    /// A connection that rests, or a new one.
    pub(in crate::store) async fn take(&self, lane: Lane) -> Result<Taken, Unconnected> {
        let deadline = Instant::now() + lane.patience();
        let too_late = || self.0.state().why_late(lane, self.0.max_connections);
        let permits = Arc::clone(self.0.lane(lane));
        let permit = match timeout_at(deadline, permits.acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| closed())?,
            Err(_) => return Err(too_late()),
        };
        while Instant::now() < deadline {
            let rested = self.0.state().rested();
            let mut pooled = if let Some(pooled) = rested {
                pooled
            } else {
                let arrival = self.0.wait_in_line(lane)?;
                timeout_at(deadline, arrival).await.map_err(|_| too_late())?.map_err(|_| closed())??
            };
            if pooled.rests_since.elapsed() <= TRIED_AFTER_IDLE || pooled.answers().await {
                return Ok(Taken { pooled, pool: Arc::clone(&self.0), _permit: permit });
            }
        }
        Err(too_late())
    }

    /// Closes all connections: those in use when they come back.
    pub(in crate::store) fn renew(&self) {
        let mut state = self.0.state();
        state.generation += 1;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        tokio::spawn(say_goodbye(idle));
    }

    /// Bytes that the server accepts as one message, as far as is known.
    pub(in crate::store) fn packet_bytes_max(&self) -> usize {
        self.0.opener.packet_bytes_max()
    }

    /// Whether the server must prove who it is.
    pub(in crate::store) fn tls(&self) -> super::settings::Tls {
        self.0.opener.tls()
    }

    /// Closes every connection, and lets no more be taken.
    pub(in crate::store) async fn close(&self) {
        for lane in &self.0.lanes {
            lane.close();
        }
        let idle = {
            let mut state = self.0.state();
            state.is_closed = true;
            state.waiting = Default::default();
            std::mem::take(&mut state.idle)
        };
        say_goodbye(idle).await;
    }
}

/// The options hold the password.
impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("max_connections", &self.0.max_connections).finish_non_exhaustive()
    }
}

/// Shares `max` connections out. Work has as many as it can use, but for what must be left to the others; where there are
/// few, some share theirs.
fn lanes(max: usize, work: usize) -> [Arc<Semaphore>; Lane::COUNT] {
    let permits = |count| Arc::new(Semaphore::new(count));
    let work = work.min(max.saturating_sub(1)).max(1);
    let rest = max.saturating_sub(work);
    let work = permits(work);
    match rest {
        0 => [Arc::clone(&work), Arc::clone(&work), work],
        1 => {
            let both = permits(rest);
            [work, Arc::clone(&both), both]
        }
        2..6 => [work, permits(1), permits(rest - 1)],
        _ => [work, permits(2), permits(rest - 2)],
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(&self, lane: Lane) -> &Arc<Semaphore> {
        let [work, watch, callers] = &self.lanes;
        match lane {
            Lane::Work => work,
            Lane::Watch => watch,
            Lane::Callers => callers,
        }
    }

    /// Waits for the next connection, and has one opened. While openings fail for a reason that does not pass by itself, that
    /// is told at once.
    fn wait_in_line(self: &Arc<Self>, lane: Lane) -> Result<oneshot::Receiver<Arrival>, Unconnected> {
        let (sender, arrival) = oneshot::channel();
        let mut state = self.state();
        if state.is_closed {
            return Err(closed());
        }
        if let Some(why) = state.opening.rests_because() {
            return Err(why);
        }
        state.line(lane).push_back(sender);
        self.open_for_those_who_wait(&mut state);
        Ok(arrival)
    }

    /// A new connection: for somebody who waits, or to rest.
    pub(super) fn arrived(self: &Arc<Self>, connection: MySqlConnection, generation: u64) {
        let now = Instant::now();
        let counted = Counted::new(&self.open);
        self.keep(Pooled { connection, generation, opened_at: now, rests_since: now, _counted: counted });
    }

    /// Tells all who wait that there is no connection.
    pub(super) fn failed(&self, why: &Unconnected) {
        let waiting = std::mem::take(&mut self.state().waiting);
        for sender in waiting.into_iter().flatten() {
            // It may have gone away.
            let _ = sender.send(Err(why.clone()));
        }
    }

    fn keep(self: &Arc<Self>, mut pooled: Pooled) {
        let mut state = self.state();
        let is_kept = !state.is_closed
            && pooled.generation == state.generation
            && pooled.opened_at.elapsed() < KEPT
            && self.open.load(Ordering::Relaxed) <= self.max_connections;
        if !is_kept {
            self.open_for_those_who_wait(&mut state);
            drop(state);
            tokio::spawn(say_goodbye(vec![pooled]));
            return;
        }
        for line in &mut state.waiting {
            while let Some(sender) = line.pop_front() {
                match sender.send(Ok(pooled)) {
                    Ok(()) => return,
                    // It has gone away: the next one may be there still.
                    Err(back) => match back {
                        Ok(back) => pooled = back,
                        Err(_) => return,
                    },
                }
            }
        }
        state.idle.push(pooled);
    }
}

impl State {
    fn line(&mut self, lane: Lane) -> &mut VecDeque<oneshot::Sender<Arrival>> {
        let [work, watch, callers] = &mut self.waiting;
        match lane {
            Lane::Work => work,
            Lane::Watch => watch,
            Lane::Callers => callers,
        }
    }

    fn rested(&mut self) -> Option<Pooled> {
        self.idle.pop()
    }

    /// How many wait for a connection and are still there.
    pub(super) fn waiting(&mut self) -> usize {
        for line in &mut self.waiting {
            line.retain(|sender| !sender.is_closed());
        }
        if self.is_closed { 0 } else { self.waiting.iter().map(VecDeque::len).sum() }
    }

    fn why_late(&self, lane: Lane, max_connections: usize) -> Unconnected {
        let patience = lane.patience();
        match self.opening.trouble() {
            Some(Unconnected { kind, why }) => {
                Unconnected { kind, why: format!("no connection within {patience:?}: {why}") }
            }
            None => Unconnected {
                kind: ErrorKind::Busy,
                why: format!("no connection within {patience:?}: of {max_connections}, those for this use are busy"),
            },
        }
    }
}

impl Pooled {
    async fn answers(&mut self) -> bool {
        matches!(timeout(TRIED_FOR, self.connection.ping()).await, Ok(Ok(())))
    }
}

impl Taken {
    /// Gives the connection back, fit for the next call.
    pub(in crate::store) fn give_back(self) {
        let Self { pooled, pool, _permit } = self;
        pool.keep(Pooled { rests_since: Instant::now(), ..pooled });
    }

    /// Takes the connection out of the pool for good.
    pub(in crate::store) fn detach(self) -> MySqlConnection {
        self.pooled.connection
    }

    pub(super) fn connection(&self) -> &MySqlConnection {
        &self.pooled.connection
    }

    pub(super) fn connection_mut(&mut self) -> &mut MySqlConnection {
        &mut self.pooled.connection
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taken").finish_non_exhaustive()
    }
}

fn closed() -> Unconnected {
    Unconnected { kind: ErrorKind::Away, why: "this program is about to end".to_owned() }
}

/// Closes connections that nobody has used for a while, or that are old, as long as there is the pool.
async fn close_unused(pool: Weak<Shared>) {
    loop {
        sleep(LOOK).await;
        let Some(pool) = pool.upgrade() else { return };
        let is_unused =
            |pooled: &mut Pooled| pooled.rests_since.elapsed() >= KEPT_IDLE || pooled.opened_at.elapsed() >= KEPT;
        let unused: Vec<_> = pool.state().idle.extract_if(.., is_unused).collect();
        drop(pool);
        say_goodbye(unused).await;
    }
}

async fn say_goodbye(connections: Vec<Pooled>) {
    let closing = connections.into_iter().map(|pooled| pooled.connection.close());
    // One that is not told sees it by itself.
    let _ = timeout(GOODBYE_LIMIT, join_all(closing)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(max: usize, work: usize) -> [usize; Lane::COUNT] {
        lanes(max, work).map(|lane| lane.available_permits())
    }

    #[test]
    fn work_has_what_it_can_use_and_callers_have_the_rest() {
        assert_eq!(shares(10, 2), [2, 2, 6]);
        assert_eq!(shares(10, 5), [5, 1, 4]);
        assert_eq!(shares(4, 2), [2, 1, 1]);
    }

    #[test]
    fn with_few_connections_some_share_and_there_are_never_more_than_allowed() {
        for (max, work) in [(1, 1), (2, 2), (2, 5), (3, 2), (3, 5)] {
            let lanes = lanes(max, work);
            let [work, watch, callers] = &lanes;
            let apart = |one: &Arc<Semaphore>, other| if Arc::ptr_eq(one, other) { 0 } else { one.available_permits() };

            let total = apart(work, watch) + apart(watch, callers) + callers.available_permits();

            assert_eq!(total, max);
        }
    }
}
