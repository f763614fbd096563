//! How connections are opened.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, MySqlConnection};
use tokio::time::{Instant, sleep, sleep_until};

use super::error::{ErrorKind, TOO_MANY_CONNECTIONS, Unconnected, number_of};
use super::pool::{Shared, State};
use super::session;
use super::settings::{StoreSettings, Tls};

/// Connections that are opened at once. More would only crowd a server that starts or is slow.
const AT_ONCE: usize = 2;

/// An opening that takes longer hangs: the server is frozen, or nobody is there. It is waited for, and meanwhile another
/// one is tried. The time doubles with each that hangs.
const HANGS_AFTER: Duration = Duration::from_secs(3);

/// The longest such time. Longer would keep this program from a server that has moved, shorter would leave more
/// handshakes behind.
const HANGS_AFTER_MAX: Duration = Duration::from_mins(1);

/// When an opening is given up. To the server that is a handshake broken off, once it goes on: with the pauses above fewer
/// than ten are, in the first ten minutes none.
const GIVEN_UP_AFTER: Duration = Duration::from_mins(10);

/// Wait before the next try where a server refuses connections: it starts, or has too many. It doubles each time.
const REFUSED_RETRY_AFTER: Duration = Duration::from_millis(20);
const REFUSED_RETRY_AFTER_MAX: Duration = Duration::from_secs(1);

/// What a server accepts as one message at least, until we know better.
const PACKET_BYTES_MIN: usize = 1 << 20;

/// Opens connections of one database.
pub(super) struct Opener {
    options: MySqlConnectOptions,
    tls: Tls,
    /// As the last session said.
    packet_bytes_max: AtomicUsize,
}

/// The openings under way, and what became of the last ones.
pub(super) struct Opening {
    under_way: usize,
    /// Those that nobody counts on any more, though they may succeed yet.
    hanging: usize,
    hangs_after: Duration,
    retry_after: Duration,
    trouble: Option<Unconnected>,
}

impl Default for Opening {
    fn default() -> Self {
        Self { under_way: 0, hanging: 0, hangs_after: HANGS_AFTER, retry_after: REFUSED_RETRY_AFTER, trouble: None }
    }
}

impl Opening {
    /// Why there is no new connection, as far as that is known.
    pub(super) fn trouble(&self) -> Option<Unconnected> {
        let is_slow = || Unconnected { kind: ErrorKind::Away, why: "the server has not let us in yet".to_owned() };
        self.trouble.clone().or_else(|| (self.under_way > 0).then(is_slow))
    }

    fn at_once(&self) -> usize {
        if self.hanging > 0 { 1 } else { AT_ONCE }
    }
}

impl Opener {
    pub(super) fn new(settings: StoreSettings) -> Self {
        let tls = settings.tls();
        Self { options: settings.options, tls, packet_bytes_max: AtomicUsize::new(PACKET_BYTES_MIN) }
    }

    pub(super) fn packet_bytes_max(&self) -> usize {
        self.packet_bytes_max.load(Ordering::Relaxed)
    }

    pub(super) fn tls(&self) -> Tls {
        self.tls
    }

    async fn open(&self) -> Result<MySqlConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        session::pin(&mut connection).await?;
        let bytes: i64 =
            sqlx::query_scalar("select cast(@@max_allowed_packet as signed)").fetch_one(&mut connection).await?;
        self.packet_bytes_max.store(usize::try_from(bytes).unwrap_or(PACKET_BYTES_MIN), Ordering::Relaxed);
        Ok(connection)
    }
}

impl Shared {
    /// Begins to open connections, where more wait for one than are being opened.
    pub(super) fn open_for_those_who_wait(self: &Arc<Self>, state: &mut State) {
        let waiting = state.waiting();
        while state.opening.under_way < waiting.min(state.opening.at_once()) {
            state.opening.under_way += 1;
            tokio::spawn(UnderWay { pool: Arc::clone(self), hangs: false }.run());
        }
    }
}

/// One opening, counted for as long as it lasts, however it ends.
struct UnderWay {
    pool: Arc<Shared>,
    hangs: bool,
}

impl UnderWay {
    async fn run(mut self) {
        let began = Instant::now();
        let pool = Arc::clone(&self.pool);
        let mut opening = pin!(pool.opener.open());
        let hangs_after = pool.state().opening.hangs_after;
        let opened = loop {
            tokio::select! {
                opened = &mut opening => break opened,
                () = sleep_until(began + hangs_after), if !self.hangs => self.hang(hangs_after),
                () = sleep_until(began + GIVEN_UP_AFTER) => return,
            }
        };
        match opened {
            Ok(connection) => {
                pool.state().opening.succeeded();
                pool.arrived(connection);
            }
            Err(error) => {
                let why = Unconnected::by(&error);
                let retry_after = pool.state().opening.refused(&why);
                if may_take_one_soon(&error) {
                    sleep(retry_after).await;
                } else {
                    pool.failed(&why);
                }
            }
        }
    }

    /// It is not counted on any more: another one may begin.
    fn hang(&mut self, after: Duration) {
        self.hangs = true;
        let mut state = self.pool.state();
        let opening = &mut state.opening;
        opening.under_way -= 1;
        opening.hanging += 1;
        opening.hangs_after = (opening.hangs_after * 2).min(HANGS_AFTER_MAX);
        let why = format!("the server has not completed a handshake within {after:?}");
        opening.trouble = Some(Unconnected { kind: ErrorKind::Away, why });
        self.pool.open_for_those_who_wait(&mut state);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        let opening = &mut state.opening;
        if self.hangs {
            opening.hanging -= 1;
        } else {
            opening.under_way -= 1;
        }
        self.pool.open_for_those_who_wait(&mut state);
    }
}

impl Opening {
    fn succeeded(&mut self) {
        let Self { under_way, hanging, .. } = *self;
        *self = Self { under_way, hanging, ..Self::default() };
    }

    /// Notes a failure, and gives the wait before the next try.
    fn refused(&mut self, why: &Unconnected) -> Duration {
        if self.trouble.as_ref().is_none_or(|before| before.why != why.why) {
            tracing::warn!(why = why.why, "no connection to the database");
        }
        self.trouble = Some(why.clone());
        let retry_after = self.retry_after;
        self.retry_after = (retry_after * 2).min(REFUSED_RETRY_AFTER_MAX);
        retry_after
    }
}

/// Whether the server says no to a connection because it is not there yet, or has too many.
fn may_take_one_soon(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        error => number_of(error).is_some_and(|number| TOO_MANY_CONNECTIONS.contains(&number)),
    }
}
