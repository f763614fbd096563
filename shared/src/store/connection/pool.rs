//! The connections of one process to its database.
//!
//! Connections are opened in tasks of their own, a few at a time, which outlive the callers that asked for them. The
//! server counts each broken handshake against this host, and after `max_connect_errors` of them in a row shuts it out
//! until an administrator lets it in again. So the pool waits for a frozen server, and a caller that goes away breaks
//! no handshake.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::MySqlConnection;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::connections::{Connections, Next, Pooled, closed};
use super::error::Unconnected;
use super::lane::{Lane, Lanes};
use super::settings::{StoreSettings, Tls};

/// A connection that was idle for longer is pinged before use: the server may have closed it, or restarted.
const PINGED_AFTER_IDLE: Duration = Duration::from_secs(1);

/// The connections of one process. Cheap to clone.
#[derive(Clone)]
pub(in crate::store) struct Pool {
    lanes: Arc<Lanes>,
    connections: Arc<Connections>,
}

/// A connection in use. Dropping it closes it; [`InUse::give_back`] keeps it.
pub(super) struct InUse {
    pooled: Pooled,
    connections: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    /// Opens no connection yet.
    pub(in crate::store) fn new(settings: StoreSettings) -> Self {
        let lanes = Lanes::sharing(settings.connections_max(), settings.work_connections as usize);
        Self { lanes: Arc::new(lanes), connections: Connections::new(settings) }
    }

    /// An idle connection, or a new one.
    pub(super) async fn take(&self, lane: Lane) -> Result<InUse, Unconnected> {
        let deadline = Instant::now() + lane.wait_limit();
        let too_late = || self.connections.why_late(lane);
        let permits = Arc::clone(self.lanes.permits(lane));
        let permit = match timeout_at(deadline, permits.acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| closed())?,
            Err(_) => return Err(too_late()),
        };
        while Instant::now() < deadline {
            let mut pooled = match self.connections.next(lane)? {
                Next::Idle(pooled) => pooled,
                Next::Awaited(arrival) => {
                    timeout_at(deadline, arrival).await.map_err(|_| too_late())?.map_err(|_| closed())??
                }
            };
            if pooled.idle_for() <= PINGED_AFTER_IDLE || pooled.answers().await {
                return Ok(InUse { pooled, connections: Arc::clone(&self.connections), _permit: permit });
            }
        }
        Err(too_late())
    }

    /// Closes all connections, those in use on their return.
    pub(super) fn renew(&self) {
        self.connections.renew();
    }

    /// Bytes that the server accepts as one message, as far as we know.
    pub(in crate::store) fn packet_bytes_max(&self) -> usize {
        self.connections.opener.packet_bytes_max()
    }

    /// Whether the server must prove who it is.
    pub(in crate::store) fn tls(&self) -> Tls {
        self.connections.opener.tls()
    }

    /// Closes every connection, and hands out no more.
    pub(in crate::store) async fn close(&self) {
        self.lanes.close();
        self.connections.close().await;
    }
}

/// By hand, since the options hold the password.
impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("max_connections", &self.connections.max).finish_non_exhaustive()
    }
}

impl InUse {
    /// Returns the connection to the pool, for the next call.
    pub(super) fn give_back(self) {
        let Self { pooled, connections, _permit } = self;
        connections.keep(pooled);
    }

    /// Takes the connection out of the pool for good.
    pub(super) fn detach(self) -> MySqlConnection {
        self.pooled.connection
    }

    pub(super) fn connection_mut(&mut self) -> &mut MySqlConnection {
        &mut self.pooled.connection
    }
}
