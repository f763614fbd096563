//! The loads of `orders-bench` that the test suite uses too. They need only sockets, none of the programs' code.

pub mod http;
pub mod stranger;
