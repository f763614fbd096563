//! Serves HTTP/1.1 on a port, within limits on time, on connections, and on each address's share of them.

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
use super::capacity::Capacity;
use super::deadlines::{DeadlineStream, Deadlines, TimeLimits};
use super::listener::Listener;
use super::watch::ClientWatch;

/// The most bytes of a request's head, and of what a connection reads or writes ahead. Ordinary heads fit; more would
/// let each connection hold more memory.
const HEAD_MAX: usize = 16 * 1024;

/// How long a connection that was made just before the port closed has to send a request.
const LAST_REQUEST_WITHIN: Duration = Duration::from_millis(250);

/// A server that is told to stop still accepts connections for a window of one fifth of its grace period.
const WINDOW_PART: u32 = 5;

/// Long enough for load balancers to notice that a server is not ready, if they ask every second or two. A longer
/// window would only make a stop take longer.
const WINDOW_MAX: Duration = Duration::from_secs(5);

/// Marks a request on a connection beyond the server's capacity: only endpoints that must work under any load should
/// answer it.
#[derive(Clone, Copy, Debug)]
pub struct Crowded;

/// How a server stops.
#[derive(Clone, Debug)]
pub struct Drain {
    stop: CancellationToken,
    window: Duration,
    grace: Duration,
}

impl Drain {
    /// After `stop`, connections are still accepted for a moment, so that load balancers can learn to send no more.
    /// Then the port is closed. Requests under way have `grace` to finish, counted from `stop`.
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

/// Serves `endpoint` over HTTP/1.1 until it is told to stop, then answers in full every request whose head has been
/// read, unless that takes longer than the grace period. This holds even if the client has closed its side by then,
/// so a handler that waits on behalf of its client finds a [`ClientWatch`] in its request.
pub async fn serve(
    listener: Listener,
    endpoint: impl IntoEndpoint<Endpoint: 'static>,
    drain: Drain,
    capacity: Capacity,
) {
    let Drain { stop, window, grace } = drain;
    let connections = TaskTracker::new();
    let (closing, over) = (CancellationToken::new(), CancellationToken::new());
    // When this future is dropped, all its connections end.
    let _end = (closing.clone().drop_guard(), over.clone().drop_guard());
    let acceptor = Acceptor {
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
            (stream, remote) = listener.accept() => acceptor.admit(stream, remote),
        }
    }
    for (stream, remote) in listener.close() {
        acceptor.admit(stream, remote);
    }
    drop(acceptor);
    closing.cancel();
    connections.close();
    if tokio::time::timeout(grace.saturating_sub(window), connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "the grace period is over; closing the open connections");
        over.cancel();
        connections.wait().await;
    }
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).max_header_size(HEAD_MAX).max_buf_size(HEAD_MAX);
    // A client that has closed its side may still wait for its answer: `nc -N`, `shutdown(SHUT_WR)`.
    http.half_close(true);
    http
}

/// Starts a task for each connection for which there is room.
struct Acceptor {
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

impl Acceptor {
    fn admit(&self, stream: TcpStream, remote: SocketAddr) {
        let counted = self.addresses.enter(remote.ip());
        let permit = counted.as_ref().and_then(|_| Arc::clone(&self.permits).try_acquire_owned().ok());
        let is_crowded = permit.is_none();
        let Some(permit) = permit.or_else(|| Arc::clone(&self.spare).try_acquire_owned().ok()) else { return };
        let counted = counted.filter(|_| !is_crowded);
        let deadlines = Deadlines::new(if is_crowded { TimeLimits::CROWDED } else { TimeLimits::USUAL });
        let stream = Arc::new(stream);
        let service = service_fn({
            let (endpoint, deadlines, stop) = (Arc::clone(&self.endpoint), deadlines.clone(), self.stop.clone());
            let (local, remote) = (LocalAddr(self.local.into()), RemoteAddr(remote.into()));
            let watch = ClientWatch::new(&stream);
            move |mut request: hyper::Request<Incoming>| {
                deadlines.answering();
                request.extensions_mut().insert(watch.clone());
                if is_crowded {
                    request.extensions_mut().insert(Crowded);
                }
                let request = Request::from((request, local.clone(), remote.clone(), Scheme::HTTP));
                let (endpoint, deadlines, stop) = (Arc::clone(&endpoint), deadlines.clone(), stop.clone());
                async move {
                    let mut response = endpoint.get_response(request).await;
                    if is_crowded || stop.is_cancelled() {
                        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                    }
                    deadlines.answered();
                    Ok::<_, Infallible>(hyper::Response::from(response))
                }
            }
        });
        let stream = DeadlineStream::new(stream, deadlines.clone());
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let (closing, over) = (self.closing.clone(), self.over.clone());
        self.connections.spawn(async move {
            let _held = (permit, counted);
            let mut connection = pin!(connection);
            tokio::select! {
                // A client that goes away or does not speak HTTP is no failure of the server.
                _ = connection.as_mut() => return,
                () = closing.cancelled() => {}
            }
            deadlines.hurry(LAST_REQUEST_WITHIN);
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

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    #[tokio::test]
    async fn beyond_its_capacity_a_server_still_answers_once_and_says_that_it_is_crowded() {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = listener.address();
        let drain = Drain::at_once(CancellationToken::new(), Duration::from_secs(10));
        tokio::spawn(serve(listener, is_crowded, drain, Capacity { connections: 1, spare: 1 }));
        let mut first = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut first).await.ends_with("false"));

        let mut second = TcpStream::connect(address).await.unwrap();
        let answer = ask(&mut second).await;

        assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("true"), "{answer}");
        assert_eq!(second.read(&mut [0]).await.unwrap(), 0);
        assert!(ask(&mut first).await.ends_with("false"), "the first connection stays");
    }
}
