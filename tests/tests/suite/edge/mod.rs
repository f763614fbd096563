//! What stands between strangers and the orders: heads, headers, bodies and browsers, and clients that are slow, that leave,
//! or that come in numbers.

mod answers;
mod bad_input;
mod browsers;
mod descriptors;
mod drain;
mod heads;
mod leaving;
mod memory;
mod not_taken;
mod problems;
mod slow;
mod stranger;
