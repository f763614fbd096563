//! The queue: how workers claim, process, retry and rescue orders, and what that costs the database.

mod attempts;
mod control;
mod cost;
mod leases;
mod load;
mod rescue;
mod wakeup;
mod worker;
