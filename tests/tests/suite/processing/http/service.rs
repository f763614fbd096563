//! A service to which orders are pushed, on loopback, that answers as a test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use orders_tests::{SOON, eventually};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A running service. Dropping it closes all its connections.
pub(super) struct Service {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
    _accepting: JoinSet<()>,
}

/// A request that it got.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The request line.
    pub(super) line: String,
    /// The headers, with names in lower case.
    pub(super) headers: HashMap<String, String>,
    pub(super) body: String,
    /// How many requests had come over the same connection before.
    pub(super) earlier: usize,
}

/// What it does with a request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Writes these bytes and waits for the next request.
    Answer(String),
    /// Writes these bytes and closes the connection.
    Last(String),
    /// Writes these bytes, and then zeros for as long as somebody reads.
    Endless(String),
    /// Writes these bytes, and nothing more.
    Hang(String),
}

type Script = dyn Fn(&Request) -> Act + Send + Sync;

struct State {
    script: Mutex<Arc<Script>>,
    seen: Mutex<Vec<Request>>,
    /// Connections that were closed by the other side while they hung, or in an endless answer.
    left: Mutex<usize>,
    tls: Option<TlsAcceptor>,
}

impl Service {
    /// Starts a service that acts so.
    pub(super) async fn start(script: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Self {
        Self::start_with(None, script).await
    }

    /// The same over TLS.
    pub(super) async fn start_with(
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Request) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let script: Arc<Script> = Arc::new(script);
        let state = State { script: Mutex::new(script), seen: Mutex::default(), left: Mutex::default(), tls };
        let state = Arc::new(state);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&state)));
        Self { address, scheme, state, _accepting: accepting }
    }

    /// The URL of a path.
    pub(super) fn url(&self, path: &str) -> String {
        // A certificate is that of a name.
        format!("{}://localhost:{}{path}", self.scheme, self.address.port())
    }

    /// It acts so from now on.
    pub(super) fn act(&self, script: impl Fn(&Request) -> Act + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Arc::new(script);
    }

    /// All requests so far.
    pub(super) fn seen(&self) -> Vec<Request> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Waits for so many requests.
    pub(super) async fn wait_for(&self, requests: usize) -> Vec<Request> {
        eventually(&format!("{requests} requests"), SOON, || async {
            Some(self.seen()).filter(|seen| seen.len() >= requests)
        })
        .await
    }

    /// Connections that the other side has closed before it had an answer.
    pub(super) fn left(&self) -> usize {
        *self.state.left.lock().unwrap()
    }
}

impl Request {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or_else(|| panic!("no {name}: {self:?}"), String::as_str)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The user of the order in it.
    pub(super) fn user_id(&self) -> u16 {
        self.json()["data"]["user_id"].as_u64().unwrap().try_into().unwrap()
    }
}

/// An answer with a status, headers (each with a line break) and a body.
pub(super) fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

/// The answer of a service that is done.
pub(super) fn done() -> Act {
    Act::Answer(answer(200, "", ""))
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(stream, Arc::clone(&state)));
    }
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    stream.set_nodelay(true).unwrap();
    match &state.tls {
        None => serve(stream, &state).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, &state).await;
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) {
    let mut stream = BufReader::new(stream);
    let mut earlier = 0;
    while let Some(request) = read(&mut stream, earlier).await {
        earlier += 1;
        let script = Arc::clone(&*state.script.lock().unwrap());
        let act = script(&request);
        state.seen.lock().unwrap().push(request);
        let (Act::Answer(text) | Act::Last(text) | Act::Endless(text) | Act::Hang(text)) = &act;
        if stream.write_all(text.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        match act {
            Act::Answer(_) => {}
            Act::Last(_) => {
                let _ = stream.shutdown().await;
                return;
            }
            Act::Endless(_) => {
                while stream.write_all(&[b'0'; 4_096]).await.is_ok() {}
                *state.left.lock().unwrap() += 1;
                return;
            }
            Act::Hang(_) => {
                let _ = stream.read_u8().await;
                *state.left.lock().unwrap() += 1;
                return;
            }
        }
    }
}

/// The next request of a connection; `None` when it is closed.
async fn read(stream: &mut BufReader<impl AsyncRead + Unpin>, earlier: usize) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let pairs = lines.iter().skip(1).filter_map(|line| line.split_once(": "));
    let headers: HashMap<_, _> = pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { line: lines.first()?.clone(), headers, body: String::from_utf8(body).ok()?, earlier })
}
