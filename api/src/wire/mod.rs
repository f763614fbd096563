//! JSON as it travels: exact numbers, and every fault of a body in one answer.
//!
//! Invariant: nothing here knows HTTP's rules or problems; they build on it.

pub(crate) mod amount;
pub(crate) mod encoding;
pub(crate) mod fields;
pub(crate) mod json;
pub(crate) mod result;
pub(crate) mod status;
pub(crate) mod tags;
pub(crate) mod time;
pub(crate) mod worker;
