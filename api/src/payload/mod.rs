//! How bodies are read and written: exact numbers, every fault of a body in one answer, RFC 9457 problems.

mod amount;
mod body;
mod fields;
mod json;
mod problem;

pub(crate) use amount::AmountNumber;
pub(crate) use body::{Body, Shape};
pub(crate) use fields::Fields;
pub(crate) use json::Json;
pub(crate) use problem::{Fault, Problem};
