use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use poem::endpoint::BoxEndpoint;
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, header};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, EndpointExt, IntoEndpoint, Request, Response};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::addresses::Addresses;
use super::pace::{Pace, Paced, Patience};
use super::watch::{ClientWatch, Watched};
use super::{Capacity, Listener};

/// Bytes of a request's head at most, and of what a connection reads or writes ahead. Any client's head fits; each connection
/// may hold as much.
const HEAD_MAX: usize = 16 * 1024;

/// Once the port is closed, how long a connection that was just made has to bring a request.
const LAST_REQUEST_WITHIN: Duration = Duration::from_millis(250);

/// The window in which a server that is told to stop still takes connections is this part of its grace period.
const WINDOW_PART: u32 = 5;

/// Longer than it takes for load balancers to hear that a server is not ready, where they ask every second or two. Longer
/// windows only make stops take longer.
const WINDOW_MAX: Duration = Duration::from_secs(5);

/// Marks a request of a connection beyond those that a process wants to have: only what must answer under any load should
/// be answered.
#[derive(Clone, Copy, Debug)]
pub struct Crowded;

/// How a server ends.
#[derive(Clone, Debug)]
pub struct Drain {
    stop: CancellationToken,
    window: Duration,
    grace: Duration,
}

impl Drain {
    /// From `stop` on, connections are still taken for a moment, so that those who send requests here can hear that they
    /// should not. Then the port is closed. Requests under way have `grace` to finish, counted from `stop`.
    #[must_use]
    pub fn after_a_window(stop: CancellationToken, grace: Duration) -> Self {
        Self { stop, window: (grace / WINDOW_PART).min(WINDOW_MAX), grace }
    }

    /// The port is closed at `stop`; requests under way have `grace` to finish.
    #[must_use]
    pub fn at_once(stop: CancellationToken, grace: Duration) -> Self {
        Self { stop, window: Duration::ZERO, grace }
    }
}

/// Serves `endpoint` over HTTP/1.1 until the end, and answers every request whose head was read by then, in full, unless
/// that takes longer than the grace period; also where the client has closed its side meanwhile. A handler that waits for
/// its client's sake finds a [`ClientWatch`] in its request.
pub async fn serve(
    listener: Listener,
    endpoint: impl IntoEndpoint<Endpoint: 'static>,
    drain: Drain,
    capacity: Capacity,
) {
    let Drain { stop, window, grace } = drain;
    let connections = TaskTracker::new();
    let (closing, over) = (CancellationToken::new(), CancellationToken::new());
    // Whoever drops this future ends all its connections.
    let _end = (closing.clone().drop_guard(), over.clone().drop_guard());
    let door = Door {
        http: http(),
        endpoint: Arc::new(endpoint.into_endpoint().map_to_response().boxed()),
        local: listener.address(),
        permits: Arc::new(Semaphore::new(capacity.connections)),
        addresses: Addresses::sharing(capacity.connections),
        spare: Arc::new(Semaphore::new(capacity.spare)),
        connections: connections.clone(),
        stop: stop.clone(),
        closing: closing.clone(),
        over: over.clone(),
    };
    tracing::info!(address = %listener.address(), connections = capacity.connections, "listening");

    let mut closed = pin!(async {
        stop.cancelled().await;
        tokio::time::sleep(window).await;
    });
    loop {
        tokio::select! {
            biased;
            () = &mut closed => break,
            (stream, remote) = listener.accept() => door.admit(stream, remote),
        }
    }
    // To their clients these are connected already.
    for (stream, remote) in listener.close() {
        door.admit(stream, remote);
    }
    drop(door);
    closing.cancel();
    connections.close();
    if tokio::time::timeout(grace.saturating_sub(window), connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "the grace period is over: cut");
        over.cancel();
        connections.wait().await;
    }
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // Deadlines are the stream's: the builder knows one time for both a head and a rest.
    http.header_read_timeout(None).max_header_size(HEAD_MAX).max_buf_size(HEAD_MAX);
    // A client that has closed its side may wait for its answer: `nc -N`, `shutdown(SHUT_WR)`.
    http.half_close(true);
    http
}

/// What every connection is given.
struct Door {
    http: http1::Builder,
    endpoint: Arc<BoxEndpoint<'static, Response>>,
    local: SocketAddr,
    permits: Arc<Semaphore>,
    addresses: Addresses,
    spare: Arc<Semaphore>,
    connections: TaskTracker,
    stop: CancellationToken,
    closing: CancellationToken,
    over: CancellationToken,
}

impl Door {
    /// Serves a connection in a task of its own, where there is room for it.
    fn admit(&self, stream: TcpStream, remote: SocketAddr) {
        let counted = self.addresses.enter(remote.ip());
        let permit = counted.as_ref().and_then(|_| Arc::clone(&self.permits).try_acquire_owned().ok());
        let is_crowded = permit.is_none();
        let Some(permit) = permit.or_else(|| Arc::clone(&self.spare).try_acquire_owned().ok()) else { return };
        let counted = counted.filter(|_| !is_crowded);
        let pace = Pace::new(if is_crowded { Patience::SHORT } else { Patience::USUAL });
        let watch = ClientWatch::default();
        let service = service_fn({
            let (endpoint, pace, stop) = (Arc::clone(&self.endpoint), pace.clone(), self.stop.clone());
            let (local, remote, watch) = (LocalAddr(self.local.into()), RemoteAddr(remote.into()), watch.clone());
            move |mut request: hyper::Request<Incoming>| {
                pace.answering();
                request.extensions_mut().insert(watch.clone());
                if is_crowded {
                    request.extensions_mut().insert(Crowded);
                }
                let request = Request::from((request, local.clone(), remote.clone(), Scheme::HTTP));
                let (endpoint, pace, stop) = (Arc::clone(&endpoint), pace.clone(), stop.clone());
                async move {
                    let mut response = endpoint.get_response(request).await;
                    if is_crowded || stop.is_cancelled() {
                        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                    }
                    pace.answered();
                    Ok::<_, Infallible>(hyper::Response::from(response))
                }
            }
        });
        let stream = Paced::new(Watched::new(stream, watch), pace.clone());
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let (closing, over) = (self.closing.clone(), self.over.clone());
        self.connections.spawn(async move {
            let _held = (permit, counted);
            let mut connection = pin!(connection);
            tokio::select! {
                // How a client goes away, or fails to speak HTTP, is its own affair.
                _ = connection.as_mut() => return,
                () = closing.cancelled() => {}
            }
            pace.hurry(LAST_REQUEST_WITHIN);
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                _ = connection => {}
                () = over.cancelled() => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use poem::handler;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[handler]
    fn is_crowded(request: &Request) -> String {
        request.data::<Crowded>().is_some().to_string()
    }

    /// A server with one place, at this address.
    async fn start(stop: &CancellationToken) -> SocketAddr {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = listener.address();
        let drain = Drain::at_once(stop.clone(), Duration::from_secs(10));
        tokio::spawn(serve(listener, is_crowded, drain, Capacity { connections: 1, spare: 1 }));
        address
    }

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    #[tokio::test]
    async fn beyond_its_places_a_server_still_answers_once_and_says_that_it_is_crowded() {
        let stop = CancellationToken::new();
        let address = start(&stop).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut first).await.ends_with("false"));

        let mut second = TcpStream::connect(address).await.unwrap();
        let answer = ask(&mut second).await;

        assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("true"), "{answer}");
        assert_eq!(second.read(&mut [0]).await.unwrap(), 0);
        assert!(ask(&mut first).await.ends_with("false"), "who has a place keeps it");
        stop.cancel();
    }
}
