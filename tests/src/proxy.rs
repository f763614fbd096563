//! A proxy between a program and its database that cuts, stalls, slows and changes what passes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// The end of a message that commits, in upper or lower case.
const COMMIT: &[u8] = b"commit";

/// The bit of an answer's status that says that another one follows (`SERVER_MORE_RESULTS_EXISTS`).
const MORE_FOLLOWS: u8 = 8;

/// A busy program sends something within a second.
const SPRUNG_WITHIN: Duration = Duration::from_mins(1);

/// A database that does not know these words waits for locked rows.
const SKIP_LOCKED: &[u8] = b" skip locked";

/// Larger than what the programs send at once, so that it comes in one piece.
const CHUNK_BYTES: usize = 1 << 20;

/// Passes TCP connections on to the database; dropping it cuts them.
#[derive(Debug)]
pub struct Proxy {
    /// The database's URL by way of the proxy, without TLS: it looks into what it passes on.
    pub url: String,
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    accepting: AbortHandle,
}

/// What the proxy does to its connections; each one watches it.
#[derive(Debug, Default)]
struct State {
    flow: Flow,
    /// How long each chunk is held, in both directions.
    delay: Duration,
    /// How many times all connections were ended.
    drops: u64,
    /// What programs have sent so far.
    messages: u32,
    /// What a connection must ask for to be ended before its answer.
    trap: Option<Trap>,
    is_sprung: bool,
    /// While this is true, the message that sprang the trap does not reach the database.
    is_held_back: bool,
    /// Whether the words SKIP LOCKED do not reach the database.
    hides_skip_locked: bool,
}

#[derive(Debug)]
enum Trap {
    Commit,
    Bytes(Vec<u8>),
}

impl Trap {
    fn is_in(&self, chunk: &[u8]) -> bool {
        match self {
            Self::Commit => chunk.rchunks(COMMIT.len()).next().is_some_and(|end| end.eq_ignore_ascii_case(COMMIT)),
            Self::Bytes(bytes) => chunk.windows(bytes.len()).any(|window| window == bytes),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flow {
    #[default]
    Passing,
    /// Connections are open and silent.
    Stalled,
    /// There are no connections.
    Cut,
}

impl Proxy {
    /// Starts passing on to the database of `url`, whose user MySQL must have met before.
    pub async fn start(url: &str) -> Self {
        Self::start_with(url, listener().await, State::default())
    }

    /// The same at an address of the test's choice.
    #[must_use]
    pub fn start_at(listener: TcpListener, url: &str) -> Self {
        Self::start_with(url, listener, State::default())
    }

    /// The same without the words SKIP LOCKED, for which the server waits for locked rows.
    pub async fn start_without_skip_locked(url: &str) -> Self {
        Self::start_with(url, listener().await, State { hides_skip_locked: true, ..State::default() })
    }

    fn start_with(url: &str, listener: TcpListener, state: State) -> Self {
        let mut url = Url::parse(url).expect("the database's URL is sound");
        let target = format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(3306));
        let address = listener.local_addr().expect("a bound listener has an address");
        url.set_ip_host(address.ip()).expect("an address is a host");
        url.set_port(Some(address.port())).expect("the URL takes a port");
        url.set_query(Some("ssl-mode=DISABLED"));
        let state = Arc::new(watch::Sender::new(state));
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&state))).abort_handle();
        Self { url: url.into(), address, state, accepting }
    }

    /// Where the proxy listens; what comes there with TLS passes too.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The database is away from now on: connections end, new ones at once.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.flow = Flow::Cut);
    }

    /// The database is back.
    pub fn restore(&self) {
        self.state.send_modify(|state| state.flow = Flow::Passing);
    }

    /// The database is silent from now on: connections stay open, new ones too, and nothing passes.
    pub fn stall(&self) {
        self.state.send_modify(|state| state.flow = Flow::Stalled);
    }

    /// The silent database goes on where it was.
    pub fn resume(&self) {
        self.restore();
    }

    /// Holds all that passes, in both directions, for so long.
    pub fn delay(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }

    /// Ends all present connections, once.
    pub fn drop_connections(&self) {
        self.state.send_modify(|state| state.drops += 1);
    }

    /// How many messages have gone to the database so far: each waits for the answer to the one before.
    #[must_use]
    pub fn messages(&self) -> u32 {
        self.state.borrow().messages
    }

    /// Ends the connection that sends the next COMMIT, alone or behind other statements, when the database has answered
    /// it, before the answer passes: the commit takes effect, and the program does not hear of it.
    pub fn cut_at_commit(&self) {
        self.set(Trap::Commit);
    }

    /// The same for the next message with these bytes in it, such as a value. Its last statement must give no rows.
    pub fn cut_at_answer_to(&self, bytes: &[u8]) {
        self.set(Trap::Bytes(bytes.to_owned()));
    }

    fn set(&self, trap: Trap) {
        self.state.send_modify(|state| {
            state.trap = Some(trap);
            state.is_sprung = false;
        });
    }

    /// Ends the connection that sends the next COMMIT at once, and holds that back until [`Self::let_go`]: the commit
    /// takes effect long after the program has given it up.
    pub fn hold_back_commit(&self) {
        self.state.send_modify(|state| state.is_held_back = true);
        self.cut_at_commit();
    }

    /// Passes on what was held back.
    pub fn let_go(&self) {
        self.state.send_modify(|state| state.is_held_back = false);
    }

    /// Waits until [`Self::cut_at_commit`] or [`Self::cut_at_answer_to`] has ended a connection.
    pub async fn wait_until_cut(&self) {
        let mut state = self.state.subscribe();
        let sprung = timeout(SPRUNG_WITHIN, state.wait_for(|state| state.is_sprung)).await;
        sprung.expect("a program sends what ends its connection").expect("the proxy has its state");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

async fn accept(listener: TcpListener, target: String, state: Arc<watch::Sender<State>>) {
    while let Ok((program, _)) = listener.accept().await {
        if state.borrow().flow != Flow::Cut {
            tokio::spawn(serve(program, target.clone(), Arc::clone(&state), state.borrow().drops));
        }
    }
}

/// Ends with either side, or when the proxy ends its connections.
async fn serve(program: TcpStream, target: String, state: Arc<watch::Sender<State>>, drops: u64) {
    let mut watched = state.subscribe();
    tokio::select! {
        _ = pass_on(program, target, &state) => {}
        _ = watched.wait_for(|state| state.flow == Flow::Cut || state.drops != drops) => {}
    }
}

async fn pass_on(mut program: TcpStream, target: String, state: &watch::Sender<State>) -> io::Result<()> {
    wait_to_pass(state).await;
    let mut database = TcpStream::connect(target).await?;
    program.set_nodelay(true)?;
    database.set_nodelay(true)?;
    let (mut asked, mut answered) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        tokio::select! {
            count = program.read(&mut asked) => {
                let Some(chunk @ [_, ..]) = asked.get_mut(..count?) else { return Ok(()) };
                state.send_modify(|state| state.messages += 1);
                if state.borrow().hides_skip_locked {
                    hide_skip_locked(chunk);
                }
                let is_trapped = takes_trap(state, chunk);
                wait_to_pass(state).await;
                if is_trapped && state.borrow().is_held_back {
                    drop(program);
                    state.send_modify(|state| state.is_sprung = true);
                    let _ = state.subscribe().wait_for(|state| !state.is_held_back).await;
                    database.write_all(chunk).await?;
                    return read_last_answer(&mut database).await;
                }
                database.write_all(chunk).await?;
                if is_trapped {
                    read_last_answer(&mut database).await?;
                    state.send_modify(|state| state.is_sprung = true);
                    return Ok(());
                }
            }
            count = database.read(&mut answered) => {
                let Some(chunk @ [_, ..]) = answered.get(..count?) else { return Ok(()) };
                wait_to_pass(state).await;
                program.write_all(chunk).await?;
            }
        }
    }
}

/// Overwrites the words with spaces: a packet tells its length.
fn hide_skip_locked(chunk: &mut [u8]) {
    while let Some(at) = chunk.windows(SKIP_LOCKED.len()).position(|window| window == SKIP_LOCKED) {
        chunk[at..][..SKIP_LOCKED.len()].fill(b' ');
    }
}

/// Reads what the database answers to the statements of one message, until it says that no more follows. Of a packet of
/// the MySQL protocol the first four bytes are its length and its number. An OK begins with 0, two numbers and the
/// status; an error, behind which nothing follows, with 255.
async fn read_last_answer(database: &mut TcpStream) -> io::Result<()> {
    loop {
        let length = database.read_u32_le().await? & 0x00ff_ffff;
        let mut packet = vec![0; length as usize];
        database.read_exact(&mut packet).await?;
        let follows = match packet.split_first() {
            Some((0, numbers)) => numbers
                .get(digits(numbers)..)
                .is_none_or(|rest| rest.get(digits(rest)).is_none_or(|status| status & MORE_FOLLOWS != 0)),
            Some((255, _)) => false,
            _ => true,
        };
        if !follows {
            return Ok(());
        }
    }
}

/// How many bytes the number at the beginning takes; its first byte tells (`int<lenenc>`).
fn digits(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(252) => 3,
        Some(253) => 4,
        Some(254) => 9,
        _ => 1,
    }
}

/// Waits out the delay, and for as long as the proxy is stalled.
async fn wait_to_pass(state: &watch::Sender<State>) {
    let delay = state.borrow().delay;
    sleep(delay).await;
    let _ = state.subscribe().wait_for(|state| state.flow != Flow::Stalled).await;
}

/// Whether the chunk is the one that the trap waits for; then there is no trap any more.
fn takes_trap(state: &watch::Sender<State>, chunk: &[u8]) -> bool {
    state.send_if_modified(|state| state.trap.take_if(|trap| trap.is_in(chunk)).is_some())
}
