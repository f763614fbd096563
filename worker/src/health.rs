use std::sync::{Mutex, PoisonError};

/// What keeps this worker from its work while the database answers.
#[derive(Debug, Default)]
pub(crate) struct Health {
    refused: Mutex<Option<String>>,
}

impl Health {
    /// The database refuses an outcome, for this reason, or no longer does.
    pub(crate) fn refused(&self, why: Option<String>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Why the worker is not ready.
    pub(crate) fn fault(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
