//! Placing orders with all that a caller may say of them, alone and in batches.

mod batches;
mod external_ids;
mod fields;
