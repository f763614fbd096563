use super::Order;

/// Rescues that make an order FAILED. It may be innocent of one worker's death, and of a second; at the third it was
/// alone in its process (see [`share`]).
pub const RESCUES_MAX: u8 = 3;

/// Rescues after which one more makes an order FAILED.
pub(crate) const SUSPECT_FROM: u8 = RESCUES_MAX - 1;

/// What a worker does about suspects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspects {
    /// It is idle: it takes one, alone.
    Take,
    /// It is not idle, and will be for the sake of one.
    WaitFor,
    /// It is not idle, and leaves them to others.
    PassOver,
}

/// How much of a batch of due orders a worker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// This many from the front.
    Take(usize),
    /// The first one, once nothing else is under way in this process.
    WaitUntilIdle,
}

impl Order {
    /// Whether one more death of its worker makes it FAILED: it is worked on with no neighbours, so that none of them
    /// is taken for what kills workers.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.rescues >= SUSPECT_FROM
    }
}

/// How much of `due` a worker takes that is `idle` or not: suspects alone, all others together.
#[must_use]
pub fn share(due: &[Order], idle: bool) -> Share {
    match due.iter().position(Order::is_suspect) {
        None => Share::Take(due.len()),
        Some(0) if idle => Share::Take(1),
        Some(0) => Share::WaitUntilIdle,
        Some(others) => Share::Take(others),
    }
}
