//! The rules that a history must keep, whatever failed meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::change::Change;
use super::change::Status::{self, Canceled, Completed, Failed, Pending, Processing};
use super::rules::{Rule, Summary, Violation};

/// The rescue that makes an order FAILED: three workers were lost while they worked on it.
const RESCUES_MAX: u8 = 3;

/// Proves that each order was placed once, was held by one claim at a time, left PROCESSING by its own claim only, and
/// has reached exactly one end; and that all `accepted` orders are there, with at most `unanswered` others, which are
/// those whose clients never heard an answer.
///
/// # Errors
///
/// The first broken rule of each order that breaks one.
pub fn check(changes: &[Change], accepted: &[Uuid], unanswered: usize) -> Result<Summary, Vec<Violation>> {
    let mut stories = BTreeMap::<Uuid, Vec<&Change>>::new();
    for change in changes {
        stories.entry(change.order_id).or_default().push(change);
    }
    let mut checker = Checker::default();
    let mut violations: Vec<Violation> =
        stories.iter_mut().filter_map(|(order_id, story)| checker.follow(*order_id, story).err()).collect();

    let accepted: BTreeSet<Uuid> = accepted.iter().copied().collect();
    let of_whole_order = |rule, order_id: &Uuid| Violation { rule, order_id: *order_id, change: None };
    let missing = accepted.iter().filter(|order_id| !stories.contains_key(order_id));
    violations.extend(missing.map(|order_id| of_whole_order(Rule::AcceptedIsMissing, order_id)));
    let unknown = stories.keys().filter(|order_id| !accepted.contains(order_id));
    violations.extend(unknown.skip(unanswered).map(|order_id| of_whole_order(Rule::NobodyAsked, order_id)));
    if violations.is_empty() { Ok(checker.summary) } else { Err(violations) }
}

#[derive(Default)]
struct Checker {
    summary: Summary,
    /// Which worker's batch each token is.
    batches: HashMap<Uuid, Uuid>,
}

impl Checker {
    /// Follows one order from the first change to the last.
    fn follow(&mut self, order_id: Uuid, story: &mut [&Change]) -> Result<(), Violation> {
        story.sort_by_key(|change| change.seq);
        let mut last: Option<&Change> = None;
        let mut tokens = BTreeSet::new();
        for change in story {
            let kept = match last {
                None => self.begins(change),
                Some(last) => self.check_change(last, change, &mut tokens),
            };
            kept.map_err(|rule| Violation { rule, order_id, change: Some((*change).clone()) })?;
            last = Some(change);
        }
        match last.map(|change| change.new_status) {
            Some(Completed | Failed | Canceled) => Ok(()),
            _ => Err(Violation { rule: Rule::NoEnd, order_id, change: last.cloned() }),
        }
    }

    fn begins(&mut self, change: &Change) -> Result<(), Rule> {
        let is_placed = change.old_status.is_none() && change.new_status == Pending && change.attempt == 0;
        keep(is_placed, Rule::NotPlacedFirst)?;
        self.summary.placed += 1;
        Ok(())
    }

    fn check_change(&mut self, last: &Change, change: &Change, tokens: &mut BTreeSet<Uuid>) -> Result<(), Rule> {
        let old_status = change.old_status.ok_or(Rule::PlacedTwice)?;
        keep(old_status == last.new_status, Rule::Gap)?;
        match (old_status, change.new_status) {
            (Pending, Processing) => self.is_claimed(last, change, tokens),
            (Processing, Processing) => Err(Rule::ClaimsOverlap),
            (Processing, outcome) => self.check_outcome(last, change, outcome),
            (Pending, Canceled) => {
                self.summary.canceled += 1;
                Ok(())
            }
            (Failed, Pending) => {
                self.summary.retried_by_hand += 1;
                Ok(())
            }
            (Pending, _) => Err(Rule::NoSuchChange),
            (Completed | Failed | Canceled, _) => Err(Rule::ChangedAfterItsEnd),
        }
    }

    fn is_claimed(&mut self, last: &Change, change: &Change, tokens: &mut BTreeSet<Uuid>) -> Result<(), Rule> {
        let token = change.new_token.ok_or(Rule::TokenNotFresh)?;
        keep(tokens.insert(token), Rule::TokenNotFresh)?;
        let worker_id = change.worker_id.ok_or(Rule::TokenOfAnotherWorker)?;
        keep(*self.batches.entry(token).or_insert(worker_id) == worker_id, Rule::TokenOfAnotherWorker)?;
        keep(change.attempt == last.attempt + 1, Rule::WrongCount)?;
        self.summary.claimed += 1;
        Ok(())
    }

    /// `claim` is the change before: the order was PROCESSING, so that can only be a claim.
    fn check_outcome(&mut self, claim: &Change, change: &Change, outcome: Status) -> Result<(), Rule> {
        keep(change.old_token == claim.new_token && change.new_token.is_none(), Rule::OutcomeWithoutItsClaim)?;
        // Back in the queue it may keep or forget who held it.
        let is_same_worker = change.worker_id == claim.worker_id;
        keep(is_same_worker || outcome == Pending && change.worker_id.is_none(), Rule::OutcomeWithoutItsClaim)?;

        let is_taken_back = change.attempt + 1 == claim.attempt;
        let is_rescue = change.rescues == claim.rescues + 1;
        keep(is_taken_back || change.attempt == claim.attempt, Rule::WrongCount)?;
        keep(is_rescue || change.rescues == claim.rescues, Rule::WrongCount)?;
        keep(!is_rescue || (outcome == Failed) == (change.rescues == RESCUES_MAX), Rule::NotPoison)?;
        match (outcome, is_rescue, is_taken_back) {
            (Completed, false, false) => self.summary.completed += 1,
            (Failed, false, false) => self.summary.failed += 1,
            (Failed, true, false) => {
                self.summary.rescued += 1;
                self.summary.failed += 1;
            }
            (Pending, true, true) => self.summary.rescued += 1,
            (Pending, false, true) => self.summary.released += 1,
            (Pending, false, false) => self.summary.retried += 1,
            (Completed | Failed | Pending, ..) => return Err(Rule::WrongCount),
            (Processing | Canceled, ..) => return Err(Rule::NoSuchChange),
        }
        Ok(())
    }
}

fn keep(is_kept: bool, rule: Rule) -> Result<(), Rule> {
    if is_kept { Ok(()) } else { Err(rule) }
}
