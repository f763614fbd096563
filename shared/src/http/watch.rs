use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Bytes that a client may send behind a waiting request, enough for several bare requests. Fewer would cut short the
/// waits of clients that pipeline; more would delay their next requests.
const BEHIND_MAX: usize = 2 * 1024;

/// The time between two checks of a client that has sent something behind its request. Without it, those bytes would
/// wake the handler again and again.
const BEHIND_POLL: Duration = Duration::from_millis(100);

/// Watches the client of one connection, for a handler that waits on its behalf and sends nothing in the meantime.
///
/// The server does not read while it answers, since it answers every request, even on half-closed connections. So
/// nothing else would tell a handler that the client of a long wait is gone.
///
/// A watch does not keep the connection open, so work that outlives its request may hold one.
#[derive(Clone, Debug)]
pub struct ClientWatch(Weak<TcpStream>);

impl ClientWatch {
    pub(super) fn new(stream: &Arc<TcpStream>) -> Self {
        Self(Arc::downgrade(stream))
    }

    /// Waits until the client has closed its side (perhaps it only wants to read the answer), the connection has
    /// broken, or the client has sent much behind its request.
    pub async fn closed(&self) {
        let Some(stream) = self.0.upgrade() else { return };
        while matches!(stream.peek(&mut [0]).await, Ok(1))
            && stream.ready(Interest::READABLE).await.is_ok_and(|ready| !ready.is_read_closed())
            && stream.peek(&mut vec![0; BEHIND_MAX]).await.is_ok_and(|behind| behind < BEHIND_MAX)
        {
            sleep(BEHIND_POLL).await;
        }
    }
}
