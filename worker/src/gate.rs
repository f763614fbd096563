//! Limits how many orders are claimed for a service that fails or may be sent only so many.

/// The gate of one worker.
#[derive(Debug)]
pub(crate) struct Gate {}
