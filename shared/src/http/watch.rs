use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Bytes that a client may send behind a request that waits: several bare requests. Less would cut the waits of clients that
/// pipeline short, more would delay their next requests.
const BEHIND_MAX: usize = 2 * 1024;

/// Time between two checks of a client that has sent something behind its request, which would wake the handler at once,
/// again and again.
const BEHIND_POLL: Duration = Duration::from_millis(100);

/// Watches the client of one connection, for a handler that waits for its sake and has nothing to tell it meanwhile.
///
/// A server that answers every request that was sent, half-closed connections included, does not read while it answers, so
/// nothing else would tell it that the client of a long wait is gone.
///
/// It does not keep the connection open: work that outlives its request may hold one.
#[derive(Clone, Debug)]
pub struct ClientWatch(Weak<TcpStream>);

impl ClientWatch {
    pub(super) fn new(stream: &Arc<TcpStream>) -> Self {
        Self(Arc::downgrade(stream))
    }

    /// Waits until the client has closed its side, perhaps to read the answer and no more, until the connection breaks, or
    /// until the client has sent much behind its request.
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
