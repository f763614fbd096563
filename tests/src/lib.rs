//! What the integration tests stand on: the [`System`] that most of them start, and its parts: databases and servers of
//! their own, the real programs as processes, a proxy to the database that misbehaves, and waiting with a deadline.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "it serves tests only, which fail by panicking"
)]

mod client;
mod counts;
mod database;
mod eventually;
mod folder;
mod history;
mod own_server;
mod program;
mod proxy;
mod release;
mod reply;
mod server;
mod system;

pub use counts::assert_counts_are_exact;
pub use database::{Database, database, empty_database};
pub use eventually::{SOON, eventually, wait_until};
pub use folder::Folder;
pub use history::{Change, History, Rule, Status, Summary, Violation, check};
pub use own_server::OwnServer;
pub use program::{Api, Kind, Program, Running, Worker, run, run_release};
pub use proxy::Proxy;
pub use release::Release;
pub use reply::Reply;
pub use system::System;
