//! What can go wrong: every kind of problem (RFC 9457), the answer that it gets, and a page that explains it.
//!
//! Invariant: nothing here knows requests, routes or handlers.

mod kind;
mod pages;
mod problem;

pub use kind::{Facts, Kind};
pub(crate) use pages::pages;
pub use problem::{PROBLEM_JSON, Problem};
