//! How bodies are read and written: exact numbers, every fault of a body in one answer, RFC 9457 problems.

mod amount;
mod body;
pub(crate) mod cursor;
mod encoding;
mod fields;
mod json;
mod key;
mod problem;
mod tagged;
mod time;

pub(crate) use amount::AmountNumber;
pub(crate) use body::{Body, OptionalBody, Shape, expect_no_body};
pub(crate) use fields::{Entries, Fields, Place, echo};
pub(crate) use json::Json;
pub(crate) use key::KeyHeader;
pub(crate) use problem::{Fault, PROBLEM_JSON, Problem};
pub(crate) use tagged::Tagged;
pub(crate) use time::{Time, TimeError};
