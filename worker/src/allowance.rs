use std::time::Instant;

/// How many more orders may be claimed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowance {
    All,
    /// At most this many, and at least one.
    UpTo(usize),
    /// None until this time, or until something changes; until something changes if there is no time.
    Nothing(Option<Instant>),
}
