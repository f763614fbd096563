use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::attack::Attack;
use super::targets::Targets;
use crate::http::{Connection, get};

/// Where the stranger comes from: loopback, and not where the clients beside it come from.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What it asks for before it goes: each takes a query.
const QUERIES: [&str; 3] = ["/queue", "/orders?limit=200", "/metrics"];

/// The largest pages that there are.
const PAGES: [&str; 2] = ["/orders?limit=200", "/order/status/completed?limit=1000"];

/// A query takes a millisecond or a few: a client that goes then is likely to interrupt one.
const GOES_AFTER: [Duration; 4] =
    [Duration::ZERO, Duration::from_micros(500), Duration::from_millis(1), Duration::from_millis(3)];

/// Before the next try of a client that was turned away: the flood alone would otherwise take all of the processor.
const TURNED_AWAY: Duration = Duration::from_millis(200);

/// Before the next try of an idle client that was hung up on: there are thousands.
const NO_ROOM: Duration = Duration::from_secs(1);

/// A program whose queue of new connections is full does not answer the first SYN.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// The largest body that the API takes, how much of it comes at once, and then each time.
const BODY: usize = 4 << 20;
const BODY_AT_ONCE: usize = 3 << 20;
const BODY_DRIP: usize = 1024;

/// Of the 16 KiB that a head may have, the part that comes at once: lines of one KiB.
const HEAD_LINES: usize = 15;

/// Between two drips, and between two reads of a slow reader.
const DRIP: Duration = Duration::from_millis(100);

/// What a slow reader reads at a time, and what it lets the kernel hold: its pages are far larger than both.
const SLOW_READ: usize = 4096;

/// Requests that no proper client sends: the bytes, and whether the sending side is closed behind them.
const ODD: [(&str, bool); 4] = [
    ("GET /queue HTTP/1.1\r\nhost: localhost\r\n\r\n", true),
    ("GET /queue HTTP/1.1\r\n\r\n", false),
    ("POST /orders/batch HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip, chunked\r\n\r\n", false),
    ("POST /order/create-order HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{", true),
];

/// One connection at a time of one attack.
pub(super) struct Client {
    attack: Attack,
    targets: Targets,
    turns: Arc<AtomicU64>,
}

impl Client {
    pub(super) fn new(attack: Attack, targets: Targets, turns: Arc<AtomicU64>) -> Self {
        Self { attack, targets, turns }
    }

    /// Attacks again and again, until it is dropped.
    pub(super) async fn attack_again_and_again(self, number: usize, after: Duration) {
        sleep(after).await;
        for turn in number.. {
            if self.attack_once(turn).await.is_err() {
                sleep(TURNED_AWAY).await;
            }
        }
    }

    async fn attack_once(&self, turn: usize) -> io::Result<()> {
        let Targets { api, worker, waiting } = self.targets;
        let wait = format!("/orders/{waiting}?wait=60");
        match self.attack {
            Attack::AsksAndGoes => self.ask_and_go(api, &get(one_of(&QUERIES, turn)), turn).await,
            Attack::WaitsAndGoes => self.ask_and_go(api, &[get(&wait), b"G".to_vec()].concat(), turn).await,
            Attack::ProbesWorker => self.ask_again_and_again(worker, "/readyz").await,
            Attack::ProbesApi => self.ask_again_and_again(api, "/readyz").await,
            Attack::Scrapes => self.ask_again_and_again(api, "/metrics/prometheus").await,
            Attack::ReadsPages => self.ask_again_and_again(api, one_of(&PAGES, turn)).await,
            Attack::ReadsSlowly => self.read_slowly(api, one_of(&PAGES, turn)).await,
            Attack::Waits => self.wait_again_and_again(api, &wait).await,
            Attack::DripsBodies => self.drip(api, &start_of_body(), &[b' '; BODY_DRIP]).await,
            Attack::DripsHeads => self.drip(api, &start_of_head(), b"x").await,
            Attack::DripsHeadsAtWorker => self.drip(worker, &start_of_head(), b"x").await,
            Attack::SpeaksOddly => self.speak_oddly(api, one_of(&ODD, turn)).await,
            Attack::Idles | Attack::Floods => self.idle(api).await,
            Attack::IdlesAtWorker => self.idle(worker).await,
        }
    }

    /// Sends a request, and resets the connection before the answer has come.
    async fn ask_and_go(&self, program: SocketAddr, request: &[u8], turn: usize) -> io::Result<()> {
        let mut stream = connect(program).await?;
        stream.write_all(request).await?;
        self.came_through();
        sleep(one_of(&GOES_AFTER, turn)).await;
        Ok(())
    }

    /// Sends the same request again and again over one connection, each when the one before is answered.
    async fn ask_again_and_again(&self, program: SocketAddr, path: &str) -> io::Result<()> {
        let mut connection = Connection::over(connect(program).await?);
        let request = get(path);
        loop {
            let status = connection.ask(&request).await.map_err(io::Error::other)?;
            self.came_through();
            if status != 200 {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
        }
    }

    /// The same, where the answer may come when the stranger has long gone: a turn is what was sent.
    async fn wait_again_and_again(&self, program: SocketAddr, path: &str) -> io::Result<()> {
        let mut connection = Connection::over(connect(program).await?);
        let request = get(path);
        loop {
            self.came_through();
            let status = connection.ask(&request).await.map_err(io::Error::other)?;
            if status != 200 {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
        }
    }

    async fn read_slowly(&self, program: SocketAddr, path: &str) -> io::Result<()> {
        let mut stream = connect_with(program, SLOW_READ).await?;
        stream.write_all(&get(path)).await?;
        self.came_through();
        let mut chunk = [0; SLOW_READ];
        while stream.read(&mut chunk).await? > 0 {
            sleep(DRIP).await;
        }
        Ok(())
    }

    /// Sends what a program wants the rest of, and then the rest bit by bit until the program has had enough.
    async fn drip(&self, program: SocketAddr, start: &[u8], drip: &[u8]) -> io::Result<()> {
        let mut stream = connect(program).await?;
        self.came_through();
        stream.write_all(start).await?;
        loop {
            sleep(DRIP).await;
            stream.write_all(drip).await?;
        }
    }

    async fn speak_oddly(&self, program: SocketAddr, (request, closes): (&str, bool)) -> io::Result<()> {
        let mut stream = connect(program).await?;
        stream.write_all(request.as_bytes()).await?;
        if closes {
            stream.shutdown().await?;
        }
        stream.read_to_end(&mut Vec::new()).await?;
        self.came_through();
        sleep(DRIP).await;
        Ok(())
    }

    /// Connects, and stays for as long as it may.
    async fn idle(&self, program: SocketAddr) -> io::Result<()> {
        let mut stream = connect(program).await?;
        self.came_through();
        stream.read_to_end(&mut Vec::new()).await?;
        // It may have been hung up on at once, for want of room.
        sleep(NO_ROOM).await;
        Ok(())
    }

    fn came_through(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }
}

async fn connect(program: SocketAddr) -> io::Result<TcpStream> {
    open(TcpSocket::new_v4()?, program).await
}

/// With so little room for what comes that the program notices a client that does not read.
async fn connect_with(program: SocketAddr, room: usize) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(u32::try_from(room).unwrap_or(u32::MAX))?;
    open(socket, program).await
}

/// A connection that ends in a reset, which leaves no port behind.
async fn open(socket: TcpSocket, program: SocketAddr) -> io::Result<TcpStream> {
    socket.bind((ADDRESS, 0).into())?;
    let stream = timeout(CONNECTED_WITHIN, socket.connect(program)).await??;
    stream.set_zero_linger()?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One of several, in turn.
fn one_of<T: Copy + Default, const N: usize>(all: &[T; N], turn: usize) -> T {
    all.get(turn % N).copied().unwrap_or_default()
}

fn start_of_body() -> Vec<u8> {
    let head = "POST /orders/batch HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length";
    let mut start = format!("{head}: {BODY}\r\n\r\n").into_bytes();
    start.resize(start.len() + BODY_AT_ONCE, b' ');
    start
}

fn start_of_head() -> Vec<u8> {
    let mut start = "GET /queue HTTP/1.1\r\nhost: localhost\r\n".to_owned();
    for number in 0..HEAD_LINES {
        let value = "x".repeat(1000);
        let _ = write!(start, "x-{number}: {value}\r\n");
    }
    start.push_str("x-last: ");
    start.into_bytes()
}
