use std::error::Error;
use std::sync::{Mutex, PoisonError};

use orders_shared::store::StoreError;

/// What keeps this worker from its work while the database answers.
#[derive(Debug, Default)]
pub(crate) struct Health {
    refused: Mutex<Option<String>>,
}

impl Health {
    /// The database refuses an outcome, or no longer does.
    pub(crate) fn refused(&self, error: Option<StoreError>) {
        let why = error.map(|error| {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{error}: {cause}")
        });
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Why the worker is not ready.
    pub(crate) fn fault(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
