//! The table of orders as a queue: claims and every way out of them, the workers that hold claims, and what people can
//! do.

pub(super) mod claim;
pub(super) mod claims;
pub(super) mod clock;
pub(super) mod complete;
pub(super) mod control;
pub(super) mod leases;
pub(super) mod locked;
pub(super) mod look;
pub(super) mod outages;
pub(super) mod outcome;
pub(super) mod rescue;
pub(super) mod settle;
pub(super) mod workers;
