//! Orders: placing them, reading them, deciding about them.

pub(crate) mod cursor;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod new_order;
pub(crate) mod place;
pub(crate) mod story;
pub(crate) mod view;
pub(crate) mod wait;
