//! The basis of every HTTP port of the project: a server that limits what strangers can take, health checks, and
//! metrics.

mod addresses;
mod capacity;
mod deadlines;
mod healthcheck;
mod listener;
mod ops;
mod server;
mod watch;

pub use capacity::{CONNECTIONS_MAX, Capacity, TooFewDescriptors};
pub use healthcheck::{Unhealthy, healthcheck};
pub use listener::Listener;
pub use ops::{Readiness, ReadinessReader, metrics_response, ops_routes};
pub use server::{Crowded, Drain, serve};
pub use watch::ClientWatch;
