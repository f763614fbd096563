//! A line to a database that does not know SKIP LOCKED.

use std::io;

use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const SKIP_LOCKED: &[u8] = b" skip locked";

/// Larger than what the programs send at once, so that it comes in one piece.
const CHUNK_BYTES: usize = 1 << 20;

/// Passes connections on to the database, without the words SKIP LOCKED: the server waits for locked rows instead.
/// Dropping it cuts them.
#[derive(Debug)]
pub struct WaitingLine {
    /// The database's URL by way of the line, without TLS: it changes what it passes on.
    pub url: String,
    _serving: JoinSet<()>,
}

impl WaitingLine {
    /// Starts passing on to the database of `url`, whose user MySQL must have met before.
    pub async fn start(url: &str) -> Self {
        let mut url = Url::parse(url).expect("the database's URL is sound");
        let target = format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(3306));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        url.set_host(Some("127.0.0.1")).expect("an address is a host");
        url.set_port(Some(port)).expect("the URL takes a port");
        url.set_query(Some("ssl-mode=DISABLED"));
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, target));
        Self { url: url.into(), _serving: serving }
    }
}

async fn accept(listener: TcpListener, target: String) {
    let mut connections = JoinSet::new();
    while let Ok((program, _)) = listener.accept().await {
        let target = target.clone();
        connections.spawn(async move { serve(program, &target).await });
    }
}

async fn serve(program: TcpStream, target: &str) -> io::Result<()> {
    let database = TcpStream::connect(target).await?;
    program.set_nodelay(true)?;
    database.set_nodelay(true)?;
    let (asking, mut answer) = program.into_split();
    let (mut answering, question) = database.into_split();
    tokio::select! {
        ended = pass_on(asking, question) => ended,
        ended = copy(&mut answering, &mut answer) => ended.map(|_| ()),
    }
}

async fn pass_on(mut asking: OwnedReadHalf, mut question: OwnedWriteHalf) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let count = asking.read(&mut buffer).await?;
        let Some(chunk @ [_, ..]) = buffer.get_mut(..count) else { return Ok(()) };
        // As many spaces: a packet tells its length.
        while let Some(at) = chunk.windows(SKIP_LOCKED.len()).position(|window| window == SKIP_LOCKED) {
            chunk[at..][..SKIP_LOCKED.len()].fill(b' ');
        }
        question.write_all(chunk).await?;
    }
}
