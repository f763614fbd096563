//! The system as its users meet it: real programs, a real database, HTTP between.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod clients;
mod crowd;
mod edge;
mod faults;
mod operations;
mod orders;
mod processing;
mod queue;
mod rows;
mod sample;
mod socket;
