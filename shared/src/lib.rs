//! The code that the API and the worker share: the domain, the store that holds all SQL, and how a process is
//! configured, observed and stopped.

pub mod coalesced;
pub mod config;
pub mod domain;
pub mod http;
mod invalid_setting;
pub mod metrics;
pub mod shutdown;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod version;
