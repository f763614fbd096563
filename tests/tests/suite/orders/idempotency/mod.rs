//! Sending a request again: one order, and the same answer.

mod keys;
mod losses;
