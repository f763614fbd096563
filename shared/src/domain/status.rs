use std::fmt;
use std::str::FromStr;

/// Where an order stands. `docs/STATE_MACHINE.md` shows the transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderStatus {
    /// Waits in the queue.
    Pending,
    /// A worker has claimed it.
    Processing,
    /// Done. Final.
    Completed,
    /// Could not be done; only a person can change that.
    Failed,
    /// Taken back by a person before a worker claimed it. Final.
    Canceled,
}

/// The name of a status as a literal, for statements that are constants: one that names no variant does not compile.
macro_rules! status_name {
    (Pending) => {
        "PENDING"
    };
    (Processing) => {
        "PROCESSING"
    };
    (Completed) => {
        "COMPLETED"
    };
    (Failed) => {
        "FAILED"
    };
    (Canceled) => {
        "CANCELED"
    };
}
pub(crate) use status_name;

/// A text that names no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of PENDING, PROCESSING, COMPLETED, FAILED, CANCELED")]
pub struct UnknownStatus;

impl OrderStatus {
    /// Every status, in the order of an order's life.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Processing, Self::Completed, Self::Failed, Self::Canceled];

    /// Whether nothing can follow it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Canceled)
    }

    /// Whether nothing more will happen by itself: only a person can change a FAILED order.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }

    /// The name, as it stands in the database and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => status_name!(Pending),
            Self::Processing => status_name!(Processing),
            Self::Completed => status_name!(Completed),
            Self::Failed => status_name!(Failed),
            Self::Canceled => status_name!(Canceled),
        }
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads a name in any letter case.
impl FromStr for OrderStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.name().eq_ignore_ascii_case(text)).ok_or(UnknownStatus)
    }
}

impl TryFrom<String> for OrderStatus {
    type Error = UnknownStatus;

    fn try_from(text: String) -> Result<Self, UnknownStatus> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_named_in_any_letter_case() {
        assert_eq!("cOmPlEtEd".parse(), Ok(OrderStatus::Completed));
        assert_eq!("CANCELLED".parse::<OrderStatus>(), Err(UnknownStatus));
    }
}
