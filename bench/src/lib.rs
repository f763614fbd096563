//! The loads of `orders-bench` that the test suite uses too: they need sockets, and nothing of the programs.

pub mod http;
pub mod stranger;
