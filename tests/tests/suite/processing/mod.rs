//! How orders are processed: by code, or by a service that they are pushed to.

mod breaker;
mod http;
mod in_process;
mod outcomes;
mod service;
