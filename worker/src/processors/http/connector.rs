//! Makes the connections to the service.
//!
//! `Invariant:` every address is asked of [`may_reach`] after its name was resolved, and the connection goes to that very
//! address, so that a name which changes its mind leads nowhere else.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use orders_shared::domain::ErrorClass;
use rustls::ClientConfig;
use tokio::net::{TcpStream, lookup_host};
use tower_service::Service;

use super::address::{Forbidden, may_reach};

/// How long a connection may take to be made, TLS included. Any healthy service takes a fraction of it; a longer wait
/// would hold a slot for a host that is not there.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Makes connections to one service.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<TcpConnector>,
    limit: Duration,
}

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the name {host} cannot be resolved")]
    Dns { host: String, source: io::Error },
    #[error("the address {address} may not be reached: {why}")]
    Forbidden { address: IpAddr, why: Forbidden },
    #[error("cannot connect to {address}")]
    Tcp { address: SocketAddr, source: io::Error },
    #[error("no secure connection")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
    #[error("no connection within {} ms", .0.as_millis())]
    Late(Duration),
}

impl ConnectError {
    pub(super) fn class(&self) -> ErrorClass {
        match self {
            Self::Dns { .. } => ErrorClass::DNS,
            Self::Forbidden { .. } => ErrorClass::MISCONFIGURED,
            Self::Tcp { .. } | Self::Late(_) => ErrorClass::CONNECT,
            Self::Tls(_) => ErrorClass::TLS,
        }
    }
}

impl Connector {
    /// Makes connections for exchanges that may take `timeout`. Half of it is left for the answer, so that a host that
    /// cannot be reached is told from a service that does not answer.
    pub(super) fn new(tls: ClientConfig, timeout: Duration) -> Self {
        let limit = CONNECT_MAX.min(timeout / 2);
        Self { https: HttpsConnector::from((TcpConnector { limit }, tls)), limit }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TcpConnection>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        let limit = self.limit;
        Box::pin(async move {
            let connected = tokio::time::timeout(limit, connecting).await.map_err(|_| ConnectError::Late(limit))?;
            connected.map_err(|error| match error.downcast::<ConnectError>() {
                Ok(error) => *error,
                Err(error) => ConnectError::Tls(error),
            })
        })
    }
}

#[derive(Clone)]
struct TcpConnector {
    limit: Duration,
}

impl Service<Uri> for TcpConnector {
    type Response = TcpConnection;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<TcpConnection, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let limit = self.limit;
        Box::pin(async move {
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            let host = uri.host().unwrap_or_default();
            // The brackets of an IPv6 address.
            connect(host.trim_start_matches('[').trim_end_matches(']'), port, limit).await
        })
    }
}

/// Connects to the first address of the host that answers, of those that may be reached. `limit` is for all of them.
async fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpConnection, ConnectError> {
    let unresolved = |source| ConnectError::Dns { host: host.to_owned(), source };
    let addresses: Vec<_> = lookup_host((host, port)).await.map_err(unresolved)?.collect();
    // An address where nobody answers must not use up the time of the others.
    let limit_each = limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut failed = None;
    for address in addresses {
        if let Err(why) = may_reach(address.ip()) {
            failed = Some(ConnectError::Forbidden { address: address.ip(), why });
            continue;
        }
        match tokio::time::timeout(limit_each, connect_to(address)).await {
            Ok(Ok(stream)) => return Ok(TcpConnection { stream: TokioIo::new(stream), was_used: WasUsed::default() }),
            Ok(Err(source)) => failed = Some(ConnectError::Tcp { address, source }),
            Err(_) => failed = Some(ConnectError::Late(limit_each)),
        }
    }
    Err(failed.unwrap_or_else(|| unresolved(io::Error::other("it has no address"))))
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A request is written at once, and nothing follows that could join its last segment.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether a connection has brought an answer before. A server may close such a one at any moment.
#[derive(Clone, Debug, Default)]
pub(super) struct WasUsed(Arc<AtomicBool>);

impl WasUsed {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection that knows whether it was used.
pub(super) struct TcpConnection {
    stream: TokioIo<TcpStream>,
    was_used: WasUsed,
}

impl Connection for TcpConnection {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.was_used.clone())
    }
}

impl Read for TcpConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for TcpConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
