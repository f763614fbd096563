/// A setting with an impossible value.
#[derive(Debug, thiserror::Error)]
#[error("{name} {why}")]
pub struct InvalidSetting {
    name: &'static str,
    why: String,
}

impl InvalidSetting {
    /// The setting's name, and the rest of a sentence that begins with it: `must be …`.
    #[must_use]
    pub fn new(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, why: why.into() }
    }
}
