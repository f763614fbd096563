use orders_shared::domain::PlaceConflict;

use super::fingerprint::PlaceOperation;
use crate::problems::{Kind, Problem};

/// Why a request's orders were not placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejected {
    #[error("too many orders wait to be written")]
    Full,
    #[error(transparent)]
    Conflict(#[from] PlaceConflict),
    /// The orders may have been placed, or may be yet, if the database has them and only its answer was lost.
    #[error("the database did not take the orders; the log of the intake says why")]
    DatabaseAway,
    #[error("an order waits for a lock that another connection holds; the log of the intake says more")]
    Locked,
    #[error("the database accepts {0} bytes at once, and the orders have more")]
    TooLarge(usize),
    /// The database rejected the statement: a fault of this program.
    #[error("the database rejects the orders; the log of the intake says why")]
    Broken,
}

impl Rejected {
    /// The problem to answer with. `needs_lookup`: the request may have waited for another one with its key or external
    /// id.
    pub(crate) fn problem(self, operation: PlaceOperation, needs_lookup: bool) -> Problem {
        let problem = match self {
            Self::Full => return Problem::overloaded("Too many orders are waiting to be written. Try again."),
            Self::Conflict(PlaceConflict::KeyReused) => return Problem::plain(Kind::IdempotencyKeyReused),
            Self::Conflict(PlaceConflict::ExternalIdTaken { index, order_id }) => {
                return Problem::external_id_taken(&operation.external_id_pointer(index), order_id);
            }
            Self::Locked if needs_lookup => Problem::plain(Kind::RequestInProgress),
            Self::Locked | Self::DatabaseAway => Problem::database_away(),
            Self::TooLarge(bytes_max) => {
                let detail = format!(
                    "The database accepts at most {bytes_max} bytes at once, and these orders take more there. Nothing \
                     was placed. Send fewer orders at once, or less metadata."
                );
                Problem::new(Kind::BodyTooLarge, detail)
            }
            Self::Broken => Problem::internal(),
        };
        problem.because(&self)
    }
}
