use chrono::NaiveDateTime;
use uuid::Uuid;

use super::Status::{Canceled, Completed, Failed, Pending, Processing};
use super::{Change, Rule, Status, Summary, check};

const ORDER: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

/// Builds histories that are sound until a test breaks them.
#[derive(Default)]
struct Story(Vec<Change>);

impl Story {
    fn placed(order_id: Uuid) -> Self {
        Self::default().and_placed(order_id)
    }

    fn and_placed(mut self, order_id: Uuid) -> Self {
        self.0.push(Change {
            seq: self.next(),
            order_id,
            old_status: None,
            new_status: Pending,
            old_token: None,
            new_token: None,
            worker_id: None,
            attempt: 0,
            rescues: 0,
            at: NaiveDateTime::default(),
        });
        self
    }

    fn claimed(self, token: u128, worker_id: u128) -> Self {
        self.then(Processing, |claim| {
            claim.new_token = Some(Uuid::from_u128(token));
            claim.worker_id = Some(Uuid::from_u128(worker_id));
            claim.attempt += 1;
        })
    }

    fn completed(self) -> Self {
        self.to(Completed)
    }

    fn released(self) -> Self {
        self.then(Pending, |change| change.attempt -= 1)
    }

    fn rescued(self, outcome: Status) -> Self {
        self.then(outcome, |change| {
            change.attempt -= u16::from(outcome == Pending);
            change.rescues += 1;
        })
    }

    fn to(self, status: Status) -> Self {
        self.then(status, |_| {})
    }

    /// One more change of the order that changed last, altered by `alter`.
    fn then(mut self, status: Status, alter: impl FnOnce(&mut Change)) -> Self {
        let last = self.0.last().unwrap().clone();
        let mut change = Change {
            seq: self.next(),
            old_status: Some(last.new_status),
            new_status: status,
            old_token: last.new_token,
            new_token: None,
            ..last
        };
        alter(&mut change);
        self.0.push(change);
        self
    }

    fn next(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap() + 1
    }

    /// The only rule that the history breaks.
    fn breaks(&self) -> Rule {
        match check(&self.0, &[ORDER], 0) {
            Err(violations) if violations.len() == 1 => violations[0].rule,
            verdict => panic!("{verdict:?}"),
        }
    }
}

#[test]
fn a_history_of_everything_that_may_happen_is_counted() {
    let story = Story::placed(ORDER)
        .claimed(1, 1)
        .to(Pending) // a failed attempt
        .claimed(2, 1)
        .released()
        .claimed(3, 1)
        .rescued(Pending)
        .claimed(4, 2)
        .rescued(Pending)
        .claimed(5, 3)
        .rescued(Failed)
        .then(Pending, |change| (change.attempt, change.rescues) = (0, 0))
        .claimed(6, 2)
        .to(Failed)
        .then(Pending, |change| change.attempt = 0)
        .claimed(7, 2)
        .completed()
        .and_placed(OTHER)
        .to(Canceled);

    let summary = check(&story.0, &[ORDER, OTHER], 0).unwrap();

    let expected = Summary {
        placed: 2,
        claimed: 7,
        completed: 1,
        failed: 2,
        canceled: 1,
        retried: 1,
        retried_by_hand: 2,
        released: 1,
        rescued: 3,
    };
    assert_eq!(summary, expected);
}

#[test]
fn changes_of_one_order_may_be_told_in_any_order() {
    let mut story = Story::placed(ORDER).claimed(1, 1).completed();
    story.0.reverse();

    assert!(check(&story.0, &[ORDER], 0).is_ok());
}

#[test]
fn an_accepted_order_that_is_not_there_is_found() {
    let story = Story::placed(ORDER).to(Canceled);

    let violations = check(&story.0, &[ORDER, OTHER], 0).unwrap_err();

    assert_eq!((violations[0].rule, violations[0].order_id), (Rule::AcceptedIsMissing, OTHER));
}

#[test]
fn an_order_without_an_answer_is_allowed_only_where_its_client_heard_none() {
    let story = Story::placed(ORDER).to(Canceled).and_placed(OTHER).to(Canceled);

    assert!(check(&story.0, &[ORDER], 1).is_ok());
    assert_eq!(story.breaks(), Rule::NobodyAsked);
}

#[test]
fn an_order_that_is_not_at_an_end_is_found() {
    assert_eq!(Story::placed(ORDER).breaks(), Rule::NoEnd);
    assert_eq!(Story::placed(ORDER).claimed(1, 1).breaks(), Rule::NoEnd);
    assert_eq!(Story::placed(ORDER).claimed(1, 1).to(Failed).to(Pending).breaks(), Rule::NoEnd);

    let unasked = Story::placed(ORDER).to(Canceled).and_placed(OTHER);
    assert_eq!(check(&unasked.0, &[ORDER], 1).unwrap_err()[0].rule, Rule::NoEnd);
}

#[test]
fn an_order_is_placed_once_and_first() {
    let mut beheaded = Story::placed(ORDER).claimed(1, 1).completed();
    beheaded.0.remove(0);
    assert_eq!(beheaded.breaks(), Rule::NotPlacedFirst);

    assert_eq!(Story::placed(ORDER).to(Canceled).and_placed(ORDER).breaks(), Rule::PlacedTwice);
}

#[test]
fn an_end_is_final() {
    let completed = || Story::placed(ORDER).claimed(1, 1).completed();
    assert_eq!(completed().to(Pending).breaks(), Rule::ChangedAfterItsEnd);
    assert_eq!(completed().claimed(2, 2).breaks(), Rule::ChangedAfterItsEnd);
    assert_eq!(completed().completed().breaks(), Rule::ChangedAfterItsEnd);
    assert_eq!(Story::placed(ORDER).to(Canceled).claimed(1, 1).breaks(), Rule::ChangedAfterItsEnd);
    assert_eq!(Story::placed(ORDER).claimed(1, 1).to(Failed).completed().breaks(), Rule::ChangedAfterItsEnd);
}

#[test]
fn only_the_arrows_of_the_state_machine_are_taken() {
    assert_eq!(Story::placed(ORDER).completed().breaks(), Rule::NoSuchChange);
    assert_eq!(Story::placed(ORDER).to(Failed).breaks(), Rule::NoSuchChange);
    assert_eq!(Story::placed(ORDER).claimed(1, 1).to(Canceled).breaks(), Rule::NoSuchChange);
}

#[test]
fn an_order_fails_by_an_attempt_of_its_own() {
    let never_claimed = || Story::placed(ORDER);
    assert_eq!(never_claimed().to(Failed).breaks(), Rule::NoSuchChange);
    assert_eq!(never_claimed().then(Failed, |change| change.rescues = 3).breaks(), Rule::NoSuchChange);

    let between_attempts = || Story::placed(ORDER).claimed(1, 1).to(Pending);
    assert_eq!(between_attempts().to(Failed).breaks(), Rule::NoSuchChange);
    assert_eq!(between_attempts().then(Failed, |change| change.attempt += 1).breaks(), Rule::NoSuchChange);
}

#[test]
fn the_third_rescue_and_no_other_makes_an_order_failed() {
    let rescued_once = || Story::placed(ORDER).claimed(1, 1).rescued(Pending);
    let rescued_twice = || rescued_once().claimed(2, 2).rescued(Pending);
    assert_eq!(Story::placed(ORDER).claimed(1, 1).rescued(Failed).breaks(), Rule::NotPoison);
    assert_eq!(rescued_once().claimed(2, 2).rescued(Failed).breaks(), Rule::NotPoison);
    assert_eq!(rescued_twice().claimed(3, 3).rescued(Pending).claimed(4, 4).completed().breaks(), Rule::NotPoison);

    assert!(check(&rescued_twice().claimed(3, 3).rescued(Failed).0, &[ORDER], 0).is_ok());
    let took_back = |change: &mut Change| (change.attempt, change.rescues) = (0, 3);
    assert_eq!(rescued_twice().claimed(3, 3).then(Failed, took_back).breaks(), Rule::WrongCount);
}

#[test]
fn two_claims_of_an_order_do_not_overlap() {
    assert_eq!(Story::placed(ORDER).claimed(1, 1).claimed(2, 2).completed().breaks(), Rule::ClaimsOverlap);
}

#[test]
fn a_change_that_nobody_wrote_down_is_found() {
    let mut story = Story::placed(ORDER).claimed(1, 1).released().claimed(2, 2).completed();
    story.0.remove(2);

    assert_eq!(story.breaks(), Rule::Gap);
}

#[test]
fn each_claim_has_a_fresh_token_of_one_worker() {
    let again = Story::placed(ORDER).claimed(1, 1).released().claimed(1, 1).completed();
    assert_eq!(again.breaks(), Rule::TokenNotFresh);

    let shared = Story::placed(OTHER).claimed(1, 1).completed().and_placed(ORDER).claimed(1, 2).completed();
    assert_eq!(check(&shared.0, &[ORDER, OTHER], 0).unwrap_err()[0].rule, Rule::TokenOfAnotherWorker);

    let mut of_nobody = Story::placed(ORDER).claimed(1, 1).completed();
    of_nobody.0[1].worker_id = None;
    assert_eq!(of_nobody.breaks(), Rule::TokenOfAnotherWorker);
}

#[test]
fn one_batch_of_one_worker_holds_many_orders() {
    let story = Story::placed(OTHER).claimed(1, 1).completed().and_placed(ORDER).claimed(1, 1).completed();

    assert!(check(&story.0, &[ORDER, OTHER], 0).is_ok());
}

#[test]
fn an_outcome_needs_the_token_and_the_worker_of_the_claim() {
    let claimed = || Story::placed(ORDER).claimed(1, 1);
    for status in [Completed, Failed, Pending] {
        let of_old_claim = claimed().then(status, |change| change.old_token = Some(Uuid::from_u128(9)));
        assert_eq!(of_old_claim.breaks(), Rule::OutcomeWithoutItsClaim);

        let of_another = claimed().then(status, |change| change.worker_id = Some(Uuid::from_u128(9)));
        assert_eq!(of_another.breaks(), Rule::OutcomeWithoutItsClaim);

        let unended = claimed().then(status, |change| change.new_token = change.old_token);
        assert_eq!(unended.breaks(), Rule::OutcomeWithoutItsClaim);
    }
}

#[test]
fn attempts_and_rescues_are_counted() {
    let claimed = || Story::placed(ORDER).claimed(1, 1);
    assert_eq!(claimed().then(Completed, |change| change.attempt -= 1).breaks(), Rule::WrongCount);
    assert_eq!(claimed().then(Completed, |change| change.attempt += 1).breaks(), Rule::WrongCount);
    assert_eq!(claimed().then(Failed, |change| change.attempt -= 1).breaks(), Rule::WrongCount);
    assert_eq!(claimed().then(Completed, |change| change.rescues += 1).breaks(), Rule::WrongCount);
    assert_eq!(claimed().then(Pending, |change| change.rescues += 1).breaks(), Rule::WrongCount);
    assert_eq!(claimed().then(Pending, |change| change.rescues += 2).breaks(), Rule::WrongCount);

    let uncounted = claimed().released().claimed(2, 1).then(Completed, |change| change.attempt = 0);
    assert_eq!(uncounted.breaks(), Rule::WrongCount);
    let mut twice = claimed().completed();
    twice.0[1].attempt = 2;
    twice.0[2].attempt = 2;
    assert_eq!(twice.breaks(), Rule::WrongCount);
}
