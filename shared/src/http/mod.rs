//! What every HTTP port of ours has: a careful server, health, metrics.

mod addresses;
mod capacity;
mod healthcheck;
mod listener;
mod ops;
mod pace;
mod server;
mod watch;

pub use capacity::{CONNECTIONS_MAX, Capacity, TooFewDescriptors};
pub use healthcheck::{Unhealthy, healthcheck};
pub use listener::Listener;
pub use ops::{Readiness, ReadinessReader, metrics_response, ops_routes};
pub use server::{Crowded, Drain, serve};
pub use watch::ClientWatch;
