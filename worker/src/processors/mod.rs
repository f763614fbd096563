//! The work on an order: the trait that a team implements, and the simulated work that is built in.

mod processor;
mod simulated;

pub use processor::{ProcessingError, Processor};
pub use simulated::{Faults, Simulated};
