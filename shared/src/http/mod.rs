//! What every HTTP port of ours has: a careful listener, health, metrics.

mod healthcheck;
mod listener;
mod ops;

pub use healthcheck::{Unhealthy, healthcheck};
pub use listener::{Listener, serve};
pub use ops::{Readiness, metrics_response, ops_routes};
