//! The connections of a pool: how they are opened, kept and closed.

use std::collections::VecDeque;
use std::mem;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::{Connection, MySqlConnection};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::error::{ErrorKind, Unconnected};
use super::lane::Lane;
use super::open::{GIVEN_UP_AFTER, Opener, Opening, UnderWay, may_take_one_soon};
use super::settings::StoreSettings;

/// How long a ping may take. A dead connection is best given up at once.
const PING_LIMIT: Duration = Duration::from_millis(500);

/// A connection that was idle for this long is closed, before the server closes it after `wait_timeout`.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// A connection is closed at this age, however busy it is: the address may lead to another server by now, and sessions
/// grow.
const AGE_MAX: Duration = Duration::from_mins(30);

/// How often such connections are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// How long it may take to close connections politely.
const GOODBYE_LIMIT: Duration = Duration::from_millis(200);

/// All connections of one pool: idle, in use and being opened.
pub(super) struct Connections {
    pub(super) opener: Opener,
    pub(super) max: usize,
    /// Connections that are open, idle or in use.
    open: Arc<AtomicUsize>,
    state: Mutex<State>,
}

struct State {
    /// The most recently used one is taken first, so that no more stay open than are needed.
    idle: Vec<Pooled>,
    waiting: [VecDeque<oneshot::Sender<Arrival>>; Lane::COUNT],
    opening: Opening,
    /// Connections of an earlier generation are closed on their return.
    generation: u64,
    is_closed: bool,
}

/// A connection for a waiting caller, or why there is none.
type Arrival = Result<Pooled, Unconnected>;

pub(super) enum Next {
    Idle(Pooled),
    Awaited(oneshot::Receiver<Arrival>),
}

/// A connection, with what decides how long it is kept.
pub(super) struct Pooled {
    pub(super) connection: MySqlConnection,
    generation: u64,
    opened_at: Instant,
    idle_since: Instant,
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

impl Connections {
    /// Opens no connection yet.
    pub(super) fn new(settings: StoreSettings) -> Arc<Self> {
        let connections = Arc::new(Self {
            max: settings.connections_max(),
            opener: Opener::new(settings),
            open: Arc::default(),
            state: Mutex::new(State {
                idle: Vec::new(),
                waiting: Default::default(),
                opening: Opening::default(),
                generation: 0,
                is_closed: false,
            }),
        });
        tokio::spawn(close_unused(Arc::downgrade(&connections)));
        connections
    }

    /// An idle connection, or else the next one that comes free or is opened for those who wait. Fails at once if there
    /// is no connection at all and openings fail for a reason that does not pass by itself.
    pub(super) fn next(self: &Arc<Self>, lane: Lane) -> Result<Next, Unconnected> {
        let mut state = self.state();
        if state.is_closed {
            return Err(closed());
        }
        if let Some(idle) = state.idle.pop() {
            return Ok(Next::Idle(idle));
        }
        if let Some(why) = state.opening.paused_because().filter(|_| self.has_none()) {
            return Err(why);
        }
        let (sender, arrival) = oneshot::channel();
        lane.of(state.waiting.each_mut()).push_back(sender);
        self.open_for_those_who_wait(&mut state);
        Ok(Next::Awaited(arrival))
    }

    /// No connection is open, so none can be given back.
    fn has_none(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    /// Tells all waiting callers that there is no connection.
    fn failed(&self, why: &Unconnected) {
        let waiting = mem::take(&mut self.state().waiting);
        for sender in waiting.into_iter().flatten() {
            let _ = sender.send(Err(why.clone()));
        }
    }

    /// Gives a connection to a waiting caller, or keeps it for the next one.
    pub(super) fn keep(self: &Arc<Self>, mut pooled: Pooled) {
        pooled.idle_since = Instant::now();
        let mut state = self.state();
        let is_kept = !state.is_closed
            && pooled.generation == state.generation
            && pooled.opened_at.elapsed() < AGE_MAX
            && self.open.load(Ordering::Relaxed) <= self.max;
        if !is_kept {
            self.open_for_those_who_wait(&mut state);
            drop(state);
            tokio::spawn(say_goodbye(vec![pooled]));
            return;
        }
        for queue in &mut state.waiting {
            while let Some(sender) = queue.pop_front() {
                match sender.send(Ok(pooled)) {
                    // This caller has gone away; the next one may still be there.
                    Err(Ok(back)) => pooled = back,
                    Ok(()) | Err(Err(_)) => return,
                }
            }
        }
        state.idle.push(pooled);
    }

    /// Begins to open connections if more callers wait for one than are being opened.
    fn open_for_those_who_wait(self: &Arc<Self>, state: &mut State) {
        let waiting = state.waiting();
        while let Some(under_way) = state.opening.begin(waiting) {
            tokio::spawn(Arc::clone(self).open_one(under_way, state.generation));
        }
    }

    async fn open_one(self: Arc<Self>, mut under_way: UnderWay, generation: u64) {
        match self.opened(&mut under_way).await {
            None => drop(under_way),
            Some(Ok(connection)) => {
                self.state().opening.succeeded();
                let (now, counted) = (Instant::now(), Counted::new(&self.open));
                self.keep(Pooled { connection, generation, opened_at: now, idle_since: now, _counted: counted });
                drop(under_way);
            }
            Some(Err(error)) => {
                let why = Unconnected::by(&error);
                let retry_after = self.state().opening.failed(&error, &why);
                if may_take_one_soon(&error) {
                    sleep(retry_after).await;
                    drop(under_way);
                } else {
                    if under_way.is_the_only_hope() && self.has_none() {
                        self.failed(&why);
                    }
                    drop(under_way);
                    sleep(retry_after).await;
                }
            }
        }
        self.open_for_those_who_wait(&mut self.state());
    }

    /// `None` when it is given up.
    async fn opened(self: &Arc<Self>, under_way: &mut UnderWay) -> Option<Result<MySqlConnection, sqlx::Error>> {
        let began = Instant::now();
        let mut opening = pin!(self.opener.open());
        let hangs_after = self.state().opening.hangs_after();
        loop {
            tokio::select! {
                opened = &mut opening => return Some(opened),
                () = sleep_until(began + hangs_after), if !under_way.hangs() => {
                    let mut state = self.state();
                    state.opening.hang(under_way, hangs_after);
                    // Nobody counts on this one any more, so another one may begin.
                    self.open_for_those_who_wait(&mut state);
                }
                () = sleep_until(began + GIVEN_UP_AFTER) => return None,
            }
        }
    }

    /// Why no connection has come in time.
    pub(super) fn why_late(&self, lane: Lane) -> Unconnected {
        let limit = lane.wait_limit();
        match self.state().opening.trouble() {
            Some(Unconnected { kind, why }) => {
                Unconnected { kind, why: format!("no connection within {limit:?}: {why}") }
            }
            None => Unconnected {
                kind: ErrorKind::Busy,
                why: format!("no connection within {limit:?}: of {}, those for this use are busy", self.max),
            },
        }
    }

    /// Closes all connections, those in use on their return.
    pub(super) fn renew(&self) {
        let mut state = self.state();
        state.generation += 1;
        let idle = mem::take(&mut state.idle);
        drop(state);
        tokio::spawn(say_goodbye(idle));
    }

    /// Closes all connections, and opens no more.
    pub(super) async fn close(&self) {
        let idle = {
            let mut state = self.state();
            state.is_closed = true;
            state.waiting = Default::default();
            mem::take(&mut state.idle)
        };
        say_goodbye(idle).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many callers still wait for a connection.
    fn waiting(&mut self) -> usize {
        for queue in &mut self.waiting {
            queue.retain(|sender| !sender.is_closed());
        }
        if self.is_closed { 0 } else { self.waiting.iter().map(VecDeque::len).sum() }
    }
}

impl Pooled {
    pub(super) fn idle_for(&self) -> Duration {
        self.idle_since.elapsed()
    }

    pub(super) async fn answers(&mut self) -> bool {
        timeout(PING_LIMIT, self.connection.ping()).await.is_ok_and(|answer| answer.is_ok())
    }
}

/// Why there are no more connections.
pub(super) fn closed() -> Unconnected {
    Unconnected { kind: ErrorKind::Away, why: "this program is about to end".to_owned() }
}

/// Closes connections that are idle or old, as long as the pool exists.
async fn close_unused(connections: Weak<Connections>) {
    loop {
        sleep(SWEEP_EVERY).await;
        let Some(connections) = connections.upgrade() else { return };
        let is_unused = |pooled: &mut Pooled| pooled.idle_for() >= IDLE_MAX || pooled.opened_at.elapsed() >= AGE_MAX;
        let unused: Vec<_> = connections.state().idle.extract_if(.., is_unused).collect();
        drop(connections);
        say_goodbye(unused).await;
    }
}

async fn say_goodbye(connections: Vec<Pooled>) {
    let closing = connections.into_iter().map(|pooled| pooled.connection.close());
    // A server that does not get the message notices by itself.
    let _ = timeout(GOODBYE_LIMIT, join_all(closing)).await;
}
