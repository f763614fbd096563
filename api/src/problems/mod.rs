//! What can go wrong: every kind of problem (RFC 9457), how one is answered, and a page for each.
//!
//! Invariant: nothing here knows of requests, routes or handlers.

mod kind;
mod pages;
mod problem;

pub use kind::{Facts, Kind};
pub(crate) use pages::pages;
pub use problem::{PROBLEM_JSON, Problem};
