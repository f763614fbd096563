//! The work on an order: the trait that a team implements, and the simulated work that is built in.
//!
//! Work is stopped by dropping its future, which takes effect at its next await. A processor that blocks its thread can
//! neither be timed out nor given up at shutdown, and enough of them hold up the heartbeat, which runs in the same
//! process. Such work belongs on threads of its own.

mod processor;
mod simulated;

pub use processor::{Attempt, Processor, Work};
pub use simulated::{Faults, Simulated};
