/// A setting whose value cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name} {why}")]
pub struct InvalidSetting {
    name: &'static str,
    why: String,
}

impl InvalidSetting {
    /// `why` is the rest of a sentence that begins with the setting's name: `must be …`.
    #[must_use]
    pub fn new(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, why: why.into() }
    }
}
