//! Orders as their callers meet them: placed alone and in batches, placed once however often they are sent, read, listed,
//! waited for and canceled.

mod actions;
mod batches;
mod by_status;
mod create;
mod external_ids;
mod fields;
mod idempotency;
mod intake;
mod list;
mod story;
mod wait;
