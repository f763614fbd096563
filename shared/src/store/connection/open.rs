//! How connections are opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, MySqlConnection};
use tokio::time::Instant;

use super::error::{ErrorKind, TOO_MANY_CONNECTIONS, Unconnected, number_of};
use super::session;
use super::settings::{StoreSettings, Tls};

/// Connections that are opened at the same time. More would only crowd a server that is starting or slow.
const AT_ONCE: usize = 2;

/// An opening that takes longer is said to hang: the server is frozen or gone. It goes on, but another one begins
/// beside it. The time doubles with each one that hangs.
const HANGS_AFTER: Duration = Duration::from_secs(3);

/// The longest such time. Longer would keep this program from a server that has moved, shorter would leave more
/// unfinished handshakes.
const HANGS_AFTER_MAX: Duration = Duration::from_mins(1);

/// After this time an opening is given up. A frozen server that recovers later counts it as a broken handshake; if it
/// recovers earlier, it completes all those that hang, some sixty at most.
pub(super) const GIVEN_UP_AFTER: Duration = Duration::from_hours(1);

/// The wait before the next opening if the server refuses: it is starting, has too many connections, or does not know
/// us. It doubles each time.
const REFUSED_RETRY_AFTER: Duration = Duration::from_millis(20);
const REFUSED_RETRY_AFTER_MAX: Duration = Duration::from_secs(1);

/// The same if we break the handshake off ourselves: the certificate is wrong, or the account uses a plugin that the
/// driver does not know. The server counts each of them against this host.
const BROKEN_RETRY_AFTER: Duration = Duration::from_secs(1);
const BROKEN_RETRY_AFTER_MAX: Duration = Duration::from_mins(2);

/// For this long a failure is given as the reason for a long wait. An older one has nothing to do with it.
const TROUBLE_LASTS: Duration = Duration::from_secs(10);

/// Bytes that every server accepts as one message: assumed until the first session has asked.
const PACKET_BYTES_MIN: usize = 1 << 20;

/// Opens connections to one database.
pub(super) struct Opener {
    options: MySqlConnectOptions,
    tls: Tls,
    /// As the latest session found it.
    packet_bytes_max: AtomicUsize,
}

/// The openings under way, and the outcome of the latest ones.
pub(super) struct Opening {
    counts: Arc<Counts>,
    hangs_after: Duration,
    retry_after: Duration,
    /// No opening begins before then.
    paused_until: Option<Instant>,
    trouble: Option<Trouble>,
}

/// How many openings there are. Not behind the lock of the pool: an opening that is spawned as the runtime shuts down
/// is dropped at once, while that lock is held.
#[derive(Default)]
struct Counts {
    under_way: AtomicUsize,
    /// Those that nobody counts on any more, though they may still succeed.
    hanging: AtomicUsize,
}

/// One opening, counted until it ends, however it does.
pub(super) struct UnderWay {
    counts: Arc<Counts>,
    hangs: bool,
}

/// Why an opening failed.
struct Trouble {
    why: Unconnected,
    at: Instant,
    /// Whether waiting callers may get a connection soon all the same.
    is_passing: bool,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            counts: Arc::default(),
            hangs_after: HANGS_AFTER,
            retry_after: Duration::ZERO,
            paused_until: None,
            trouble: None,
        }
    }
}

impl Opening {
    /// Why there is no new connection, if that is known.
    pub(super) fn trouble(&self) -> Option<Unconnected> {
        let is_slow = || Unconnected { kind: ErrorKind::Away, why: "the server has not let us in yet".to_owned() };
        let recent = self.trouble.as_ref().filter(|trouble| trouble.at.elapsed() < TROUBLE_LASTS);
        recent.map(|trouble| trouble.why.clone()).or_else(|| (self.counts.under_way.load(Relaxed) > 0).then(is_slow))
    }

    /// Why no opening begins now, if it is no use to wait for one.
    pub(super) fn paused_because(&self) -> Option<Unconnected> {
        let trouble = self.trouble.as_ref().filter(|trouble| !trouble.is_passing && self.is_paused())?;
        Some(trouble.why.clone())
    }

    /// Counts another opening if it may begin: fewer are under way than callers wait.
    pub(super) fn begin(&self, waiting: usize) -> Option<UnderWay> {
        let counts = Arc::clone(&self.counts);
        (counts.under_way.load(Relaxed) < waiting.min(self.at_once())).then(|| {
            counts.under_way.fetch_add(1, Relaxed);
            UnderWay { counts, hangs: false }
        })
    }

    /// How long an opening takes until it is said to hang.
    pub(super) fn hangs_after(&self) -> Duration {
        self.hangs_after
    }

    /// Notes that one hangs.
    pub(super) fn hang(&mut self, under_way: &mut UnderWay, after: Duration) {
        under_way.hangs = true;
        self.counts.under_way.fetch_sub(1, Relaxed);
        self.counts.hanging.fetch_add(1, Relaxed);
        self.hangs_after = (self.hangs_after * 2).min(HANGS_AFTER_MAX);
        let why = format!("the server has not completed a handshake within {after:?}");
        let why = Unconnected { kind: ErrorKind::Away, why };
        self.trouble = Some(Trouble { why, at: Instant::now(), is_passing: true });
    }

    fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|until| Instant::now() < until)
    }

    fn at_once(&self) -> usize {
        match self.counts.hanging.load(Relaxed) {
            _ if self.is_paused() => 0,
            0 => AT_ONCE,
            _ => 1,
        }
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self { counts: Arc::clone(&self.counts), ..Self::default() };
    }

    /// Notes a failure, and returns the wait before the next try.
    pub(super) fn failed(&mut self, error: &sqlx::Error, why: &Unconnected) -> Duration {
        let (least, most) = if is_broken_by_us(error) {
            (BROKEN_RETRY_AFTER, BROKEN_RETRY_AFTER_MAX)
        } else {
            (REFUSED_RETRY_AFTER, REFUSED_RETRY_AFTER_MAX)
        };
        if self.trouble.as_ref().is_none_or(|before| before.why.why != why.why) {
            tracing::warn!(why = why.why, "no connection to the database");
        }
        self.retry_after = (self.retry_after * 2).clamp(least, most);
        let now = Instant::now();
        self.paused_until = Some(now + self.retry_after);
        self.trouble = Some(Trouble { why: why.clone(), at: now, is_passing: may_take_one_soon(error) });
        self.retry_after
    }
}

impl UnderWay {
    pub(super) fn hangs(&self) -> bool {
        self.hangs
    }

    /// Whether no other opening may succeed soon.
    pub(super) fn is_the_only_hope(&self) -> bool {
        !self.hangs && self.counts.under_way.load(Relaxed) == 1
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let counted = if self.hangs { &self.counts.hanging } else { &self.counts.under_way };
        counted.fetch_sub(1, Relaxed);
    }
}

impl Opener {
    pub(super) fn new(settings: StoreSettings) -> Self {
        let tls = settings.tls();
        Self { options: settings.options, tls, packet_bytes_max: AtomicUsize::new(PACKET_BYTES_MIN) }
    }

    pub(super) fn packet_bytes_max(&self) -> usize {
        self.packet_bytes_max.load(Relaxed)
    }

    pub(super) fn tls(&self) -> Tls {
        self.tls
    }

    pub(super) async fn open(&self) -> Result<MySqlConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        session::pin(&mut connection).await?;
        let bytes: i64 =
            sqlx::query_scalar("select cast(@@max_allowed_packet as signed)").fetch_one(&mut connection).await?;
        self.packet_bytes_max.store(usize::try_from(bytes).unwrap_or(PACKET_BYTES_MIN), Relaxed);
        Ok(connection)
    }
}

/// Whether the server refuses a connection because it is not up yet, or has too many.
pub(super) fn may_take_one_soon(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        error => number_of(error).is_some_and(|number| TOO_MANY_CONNECTIONS.contains(&number)),
    }
}

/// Whether we broke the handshake off, rather than the server or the network.
fn is_broken_by_us(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::Configuration(_))
}
