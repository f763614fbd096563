//! Shapes of bodies and answers. Meaning is the domain's.

mod control;
mod create;
mod order;
mod report;

pub(crate) use self::control::{Explanation, PauseState, QueueState, RetryOrder, Story};
pub(crate) use self::create::{BatchBody, CreateOrder, NewOrderBody, OrderCreated};
pub(crate) use self::order::{BatchCreated, FullOrder, ListedOrder, OrderPage, Status};
pub(crate) use self::report::Report;
