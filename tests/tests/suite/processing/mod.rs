//! The work on orders: what is done with an order between its claim and its outcome.

mod breaker;
mod examples;
mod http;
mod in_process;
mod outcomes;
mod service;
