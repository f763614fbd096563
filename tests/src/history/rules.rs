//! What a history may not show, and what one that keeps the rules comes to.

use uuid::Uuid;

use super::change::Change;

/// How often what happened in a history that kept the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of docs/STATE_MACHINE.md")]
pub struct Summary {
    pub placed: usize,
    pub claimed: usize,
    pub completed: usize,
    pub failed: usize,
    pub canceled: usize,
    /// Put back by policy after a failed attempt.
    pub retried: usize,
    /// Put back by a person after the order had failed.
    pub retried_by_hand: usize,
    pub released: usize,
    /// Taken back from a dead worker, to be claimed again or, the last time, to fail.
    pub rescued: usize,
}

/// A rule that an order's history breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// The order whose history breaks it.
    pub order_id: Uuid,
    /// The change that breaks the rule, where it is one change.
    pub change: Option<Change>,
}

/// What a history may not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// An order was accepted and is not there.
    AcceptedIsMissing,
    /// More orders are there than were asked for.
    NobodyAsked,
    /// The first change is something else than being placed, as PENDING.
    NotPlacedFirst,
    /// An order is placed that was there before.
    PlacedTwice,
    /// A change does not begin where the one before it ended.
    Gap,
    /// A claimed order is claimed again before the first claim has ended.
    ClaimsOverlap,
    /// A claim names a token that the order had before, or none.
    TokenNotFresh,
    /// A claim names no worker, or the token of another worker's batch.
    TokenOfAnotherWorker,
    /// A claim adds something else than one to the attempts, or an outcome counts attempts or rescues as it may not.
    WrongCount,
    /// A way out of PROCESSING without the token, or with another worker, than the claim before it.
    OutcomeWithoutItsClaim,
    /// A rescue that is not the third makes the order FAILED, or the third one does not.
    NotPoison,
    /// There is no such arrow in the state machine.
    NoSuchChange,
    /// An order changes though it was COMPLETED or CANCELED, or though it FAILED and nobody retried it.
    ChangedAfterItsEnd,
    /// The last change is not to COMPLETED, FAILED or CANCELED.
    NoEnd,
}
