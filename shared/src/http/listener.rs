use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{IntoEndpoint, Server};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Pause after a failed accept. A process out of descriptors would spin without one.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// A listening TCP port.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// When the address is taken or not ours.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Acceptor for Listener {
    type Io = TcpStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        vec![LocalAddr(self.address.into())]
    }

    async fn accept(&mut self) -> io::Result<(TcpStream, LocalAddr, RemoteAddr, Scheme)> {
        match self.listener.accept().await {
            Ok((stream, remote)) => {
                // An answer in two small segments would otherwise wait 40 ms for the client's delayed ACK.
                // A connection that is gone already shows itself at its first read.
                let _ = stream.set_nodelay(true);
                Ok((stream, LocalAddr(self.address.into()), RemoteAddr(remote.into()), Scheme::HTTP))
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                Err(error)
            }
        }
    }
}

/// Serves `endpoint` until `stop`; requests under way then have `grace` to finish.
///
/// # Errors
///
/// When the server cannot run.
pub async fn serve(
    listener: Listener,
    endpoint: impl IntoEndpoint<Endpoint: 'static>,
    stop: CancellationToken,
    grace: Duration,
) -> io::Result<()> {
    Server::new_with_acceptor(listener).run_with_graceful_shutdown(endpoint, stop.cancelled(), Some(grace)).await
}
