//! The work on an order: the trait that a team implements, the way to a service over HTTP, and simulated work.
//!
//! Work is stopped by dropping its future, which takes effect at its next await. A processor that blocks its thread can
//! neither be timed out nor given up at shutdown, and enough of them hold up the heartbeat, which runs in the same
//! process. Such work belongs on threads of its own.

pub(crate) mod http;
mod processor;
mod simulated;

pub use http::{Delivery, FulfilmentSettings, deliver, print_curl};
pub use processor::{Attempt, Processor, Work};
pub use simulated::{Faults, Simulated};
