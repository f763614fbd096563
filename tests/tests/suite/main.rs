//! The system as its users meet it: real programs, a real database, HTTP between.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod attempts;
mod bad_input;
mod bell;
mod browsers;
mod chaos;
mod clients;
mod compose;
mod control;
mod cost;
mod counts;
mod create;
mod crowd;
mod doctor;
mod document;
mod edge;
mod faults;
mod history;
mod idempotency;
mod intake;
mod line;
mod list;
mod load;
mod logs;
mod mariadb_backup;
mod memory;
mod metrics;
mod migrations;
mod ops;
mod orders;
mod outage;
mod own_server;
mod place;
mod problems;
mod reach;
mod refused;
mod rescue;
mod sample;
mod socket;
mod stranger;
mod tasks;
mod versions;
mod wait;
mod worker;
