use std::net::SocketAddr;

use uuid::Uuid;

/// The stranger's targets. Both programs listen at addresses of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Targets {
    /// The address of `orders-api`.
    pub api: SocketAddr,
    /// The address of `orders-worker`.
    pub worker: SocketAddr,
    /// An order that does not reach an end meanwhile, to be waited for.
    pub waiting: Uuid,
}
