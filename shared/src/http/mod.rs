//! What every HTTP port of ours has: a careful server, health, metrics.

mod addresses;
mod head;
mod healthcheck;
mod listener;
mod ops;
mod pace;
mod refuse;
mod room;
mod server;
mod watch;

pub use healthcheck::{Unhealthy, healthcheck};
pub use listener::Listener;
pub use ops::{Readiness, ReadinessReader, metrics_response, ops_routes};
pub use refuse::Refusal;
pub use room::{CONNECTIONS_MAX, Room, TooFewDescriptors};
pub use server::{Crowded, Ending, serve};
pub use watch::ClientWatch;
