//! Whether the service that orders are pushed to is well: a pure decision. It is told the time and the answers.
//!
//! It opens when the service fails, and then lets one order through at a time, the probe, until one shows that the
//! service is back. As a guard it also opens when the service rejects most orders: a bad release of the service would
//! otherwise fail every order in the queue.
//!
//! Answers come late. One to an order that was sent before the breaker opened, or before it closed again, says nothing
//! about the service as it is now, so each answer comes with the time at which its order was sent. Late rejections open
//! the guard all the same while the breaker is not closed: a service that restarts with a bad release fails first, and
//! then rejects what was in flight.

use std::time::{Duration, Instant};

use orders_shared::domain::{BreakerState, ErrorClass, NotDone, Outcome};

use crate::allowance::Allowance;

/// The pause before the first probe. A shorter one would give a service that restarts no rest.
const PROBE_PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause before a probe, and so the longest that a service which is back waits for its orders.
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long a probe may go without an answer before another one follows. One may be lost without a trace, as when its
/// worker lost its claims. A shorter time than a slow answer takes would send a service that hangs more than one.
const PROBE_ANSWER_MAX: Duration = Duration::from_mins(1);

/// The most orders in flight after the start of the process. Many processes may start together.
const ALLOWED_AT_START: usize = 16;

/// The most orders in flight after the breaker has closed.
const ALLOWED_AFTER_PROBE: usize = 1;

/// The slow start ends where no worker has more slots.
const ALLOWED_MAX: usize = 2_000;

/// How many answers there must be before a share of them counts.
const ANSWERS_MIN: u32 = 20;

const FAILURES_IN_A_ROW: u32 = 5;
const FAILURES_SECONDS: u64 = 10;

const REJECTIONS_IN_A_ROW: u32 = 20;
const REJECTIONS_SECONDS: u64 = 60;

/// What the answer to an order says about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    /// It did not do the order, but it is well.
    Alive,
    Rejected,
    Failed,
}

impl Answer {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Ok(_) => Self::Done,
            Err(NotDone::Rejected(_)) => Self::Rejected,
            Err(NotDone::Unavailable { .. }) => Self::Failed,
            Err(NotDone::Retry { error, .. }) if [ErrorClass::HTTP_5XX, ErrorClass::TIMEOUT].contains(&error.class) => {
                Self::Failed
            }
            Err(NotDone::Retry { .. } | NotDone::Canceled) => Self::Alive,
        }
    }
}

/// Why the breaker opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Failing,
    /// The guard opened it.
    Rejecting,
}

impl Cause {
    pub(crate) const ALL: [Self; 2] = [Self::Failing, Self::Rejecting];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Rejecting => "rejecting",
        }
    }

    /// Whether this answer to a probe shows that the cause is gone. The guard fails no order by a probe, so nothing
    /// less than an order that is done closes it.
    fn is_gone(self, answer: Answer) -> bool {
        match self {
            Self::Failing => answer != Answer::Failed,
            Self::Rejecting => answer == Answer::Done,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Breaker {
    guards: bool,
    phase: Phase,
    /// Answers to orders that were sent before do not count.
    counts_from: Instant,
    failures: Tally,
    rejections: Tally,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// At most this many orders are in flight.
    Closed {
        allowed: usize,
    },
    Open {
        cause: Cause,
        pause: Duration,
        until: Instant,
    },
    /// The next order is the probe, unless one is under way.
    HalfOpen {
        cause: Cause,
        pause: Duration,
        under_way: Option<Probe>,
    },
}

/// A claim that is made for a probe, known by the time at which it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe(Instant);

impl Breaker {
    pub(crate) fn new(now: Instant, guards: bool) -> Self {
        Self {
            guards,
            phase: Phase::Closed { allowed: ALLOWED_AT_START },
            counts_from: now,
            failures: Tally::new(now, FAILURES_IN_A_ROW, FAILURES_SECONDS),
            rejections: Tally::new(now, REJECTIONS_IN_A_ROW, REJECTIONS_SECONDS),
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Why it is not closed.
    pub(crate) fn cause(&self) -> Option<Cause> {
        match self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { cause, .. } | Phase::HalfOpen { cause, .. } => Some(cause),
        }
    }

    /// How many more orders may be sent while so many are in flight.
    pub(crate) fn allows(&mut self, now: Instant, in_flight: usize) -> Allowance {
        match self.phase {
            Phase::Closed { allowed: ALLOWED_MAX.. } => Allowance::All,
            Phase::Closed { allowed } if allowed > in_flight => Allowance::UpTo(allowed - in_flight),
            Phase::Open { until, .. } if now < until => Allowance::Nothing(Some(until)),
            Phase::Open { cause, pause, .. } => {
                self.counts_from = now;
                self.phase = Phase::HalfOpen { cause, pause, under_way: None };
                Allowance::UpTo(1)
            }
            // If nothing is in flight the probe has ended without an answer.
            Phase::HalfOpen { under_way: Some(Probe(began)), .. } if in_flight > 0 => {
                let until = began + PROBE_ANSWER_MAX;
                if now < until { Allowance::Nothing(Some(until)) } else { Allowance::UpTo(1) }
            }
            Phase::HalfOpen { .. } => Allowance::UpTo(1),
            Phase::Closed { .. } => Allowance::Nothing(None),
        }
    }

    /// A claim has begun. Returns the probe that it is made for, if it is.
    pub(crate) fn claim_began(&mut self, now: Instant) -> Option<Probe> {
        let Phase::HalfOpen { under_way, .. } = &mut self.phase else { return None };
        *under_way = Some(Probe(now));
        *under_way
    }

    /// A claim, perhaps for a probe, has ended with this many orders. Returns whether they may be sent: one that began
    /// before the breaker opened would send many while it is not closed.
    pub(crate) fn claim_ended(&mut self, probe: Option<Probe>, orders: usize) -> bool {
        match &mut self.phase {
            Phase::Closed { .. } => true,
            Phase::HalfOpen { under_way, .. } if probe.is_some() && *under_way == probe => {
                *under_way = probe.filter(|_| orders > 0);
                true
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } => false,
        }
    }

    /// Takes note of the answer to an order that was sent at `sent_at`. Returns whether it counts.
    pub(crate) fn answered(&mut self, now: Instant, sent_at: Instant, answer: Answer) -> bool {
        let is_late = sent_at < self.counts_from;
        match self.phase {
            Phase::Closed { .. } if is_late => false,
            Phase::Closed { allowed } => {
                if self.guards && self.rejections.add(now, answer == Answer::Rejected) {
                    self.open(now, Cause::Rejecting, PROBE_PAUSE_MIN);
                } else if self.failures.add(now, answer == Answer::Failed) {
                    self.open(now, Cause::Failing, PROBE_PAUSE_MIN);
                } else if answer != Answer::Failed {
                    self.phase = Phase::Closed { allowed: allowed.saturating_add(1).min(ALLOWED_MAX) };
                }
                true
            }
            // No order is sent while it is open.
            Phase::Open { .. } => self.answered_late(now, answer),
            Phase::HalfOpen { .. } if is_late => self.answered_late(now, answer),
            Phase::HalfOpen { cause, .. } if cause.is_gone(answer) => {
                self.close(now, cause, answer);
                true
            }
            Phase::HalfOpen { cause, pause, .. } => {
                self.open(now, cause, (pause * 2).min(PROBE_PAUSE_MAX));
                true
            }
        }
    }

    /// Lets the guard take over if too many late answers are rejections. Returns whether it did.
    fn answered_late(&mut self, now: Instant, answer: Answer) -> bool {
        if !self.guards || !self.rejections.add(now, answer == Answer::Rejected) {
            return false;
        }
        match &mut self.phase {
            Phase::Open { cause, .. } | Phase::HalfOpen { cause, .. } => {
                std::mem::replace(cause, Cause::Rejecting) != Cause::Rejecting
            }
            Phase::Closed { .. } => false,
        }
    }

    fn open(&mut self, now: Instant, cause: Cause, pause: Duration) {
        let until = now + pause;
        self.counts_from = until;
        self.phase = Phase::Open { cause, pause, until };
    }

    fn close(&mut self, now: Instant, cause: Cause, answer: Answer) {
        self.counts_from = now;
        self.phase = Phase::Closed { allowed: ALLOWED_AFTER_PROBE };
        self.failures.clear();
        // A service that fails and rejects in turn would otherwise never have rejected too many.
        if cause == Cause::Rejecting {
            self.rejections.clear();
        } else if self.guards {
            self.rejections.add(now, answer == Answer::Rejected);
        }
    }
}

/// Counts bad answers, in a row and as a share of all answers of the last seconds.
#[derive(Debug)]
struct Tally {
    start: Instant,
    in_a_row_max: u32,
    in_a_row: u32,
    /// One for each second, used in turn.
    buckets: Vec<Bucket>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Since the start of the tally.
    second: u64,
    answers: u32,
    bad: u32,
}

impl Tally {
    fn new(start: Instant, in_a_row_max: u32, seconds: u64) -> Self {
        let buckets = (0..seconds).map(|second| Bucket { second, ..Bucket::default() }).collect();
        Self { start, in_a_row_max, in_a_row: 0, buckets }
    }

    /// Counts an answer. Returns whether the bad ones are too many now.
    fn add(&mut self, now: Instant, is_bad: bool) -> bool {
        let second = now.saturating_duration_since(self.start).as_secs();
        let seconds = self.buckets.len() as u64;
        let turn = usize::try_from(second % seconds).unwrap_or_default();
        if let Some(bucket) = self.buckets.get_mut(turn) {
            if bucket.second != second {
                *bucket = Bucket { second, ..Bucket::default() };
            }
            bucket.answers += 1;
            bucket.bad += u32::from(is_bad);
        }
        self.in_a_row = if is_bad { self.in_a_row + 1 } else { 0 };
        is_bad && (self.in_a_row >= self.in_a_row_max || self.is_half_bad(second))
    }

    fn is_half_bad(&self, second: u64) -> bool {
        let recent = self.buckets.iter().filter(|bucket| bucket.second + self.buckets.len() as u64 > second);
        let (answers, bad) = recent.fold((0, 0), |(answers, bad), it| (answers + it.answers, bad + it.bad));
        answers >= ANSWERS_MIN && bad * 2 >= answers
    }

    fn clear(&mut self) {
        self.in_a_row = 0;
        self.buckets.iter_mut().for_each(|bucket| (bucket.answers, bucket.bad) = (0, 0));
    }
}

#[cfg(test)]
mod tests {
    use orders_shared::domain::{Done, WorkError};

    use super::Answer::{Alive, Done as DoneAnswer, Failed, Rejected};
    use super::BreakerState::{Closed, HalfOpen, Open};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A breaker past its slow start, and the time.
    fn running(guards: bool) -> (Breaker, Instant) {
        let now = Instant::now();
        let mut breaker = Breaker::new(now, guards);
        breaker.phase = Phase::Closed { allowed: ALLOWED_MAX };
        (breaker, now)
    }

    /// A breaker that has just opened.
    fn open(cause: Cause) -> (Breaker, Instant) {
        let (mut breaker, now) = running(true);
        let (answer, times) = if cause == Cause::Failing { (Failed, 5) } else { (Rejected, 20) };
        for _ in 0..times {
            breaker.answered(now, now, answer);
        }
        assert_eq!((breaker.state(), breaker.cause()), (Open, Some(cause)));
        (breaker, now)
    }

    /// Sends a probe as soon as it may be sent, and answers it. Returns the pause before it.
    fn probe(breaker: &mut Breaker, now: &mut Instant, answer: Answer) -> Duration {
        let Allowance::Nothing(Some(until)) = breaker.allows(*now, 0) else { panic!("{breaker:?}") };
        let pause = until - *now;
        *now = until;
        assert_eq!(breaker.allows(*now, 0), Allowance::UpTo(1));
        assert_eq!(breaker.claim_began(*now), Some(Probe(*now)));
        assert!(breaker.claim_ended(Some(Probe(*now)), 1));
        breaker.answered(*now, *now, answer);
        pause
    }

    #[test]
    fn every_outcome_says_something_about_the_service() {
        let error = |class: ErrorClass| WorkError::new(class, "no");
        for (outcome, answer) in [
            (Ok(Done::default()), DoneAnswer),
            (Err(NotDone::rejected(error(ErrorClass::HTTP_4XX))), Rejected),
            (Err(NotDone::unavailable(error(ErrorClass::CONNECT))), Failed),
            (Err(NotDone::unavailable(error(ErrorClass::MISCONFIGURED))), Failed),
            (Err(NotDone::retry(error(ErrorClass::HTTP_5XX))), Failed),
            (Err(NotDone::retry(error(ErrorClass::TIMEOUT))), Failed),
            (Err(NotDone::retry(error(ErrorClass::HTTP_4XX))), Alive),
            (Err(NotDone::retry(error(ErrorClass::ERROR))), Alive),
            (Err(NotDone::Canceled), Alive),
        ] {
            assert_eq!(Answer::of(&outcome), answer, "{outcome:?}");
        }
    }

    #[test]
    fn failures_and_rejections_open_it_when_they_are_too_many() {
        let run = |answer, times| vec![answer; times];
        let mix = |bad, good, times| [good, bad].repeat(times);
        for (answers, guards, step, cause) in [
            (run(Failed, 4), true, SECOND, None),
            (run(Failed, 5), true, SECOND, Some(Cause::Failing)),
            (run(Failed, 5), false, 60 * SECOND, Some(Cause::Failing)),
            ([run(Failed, 4), run(Alive, 1), run(Failed, 4)].concat(), true, SECOND, None),
            ([run(Failed, 4), run(Rejected, 1), run(Failed, 4)].concat(), true, SECOND, None),
            (mix(Failed, DoneAnswer, 9), true, SECOND / 10, None),
            (mix(Failed, DoneAnswer, 10), true, SECOND / 10, Some(Cause::Failing)),
            // Ten seconds hold fewer than twenty.
            (mix(Failed, DoneAnswer, 30), true, SECOND, None),
            ([run(DoneAnswer, 20), mix(Failed, DoneAnswer, 18)].concat(), true, SECOND / 10, None),
            (run(Rejected, 19), true, SECOND, None),
            (run(Rejected, 20), true, SECOND, Some(Cause::Rejecting)),
            (run(Rejected, 20), true, 60 * SECOND, Some(Cause::Rejecting)),
            (run(Rejected, 1_000), false, SECOND / 100, None),
            (mix(Rejected, DoneAnswer, 9), true, SECOND, None),
            (mix(Rejected, DoneAnswer, 10), true, SECOND, Some(Cause::Rejecting)),
            (mix(Rejected, DoneAnswer, 100), true, 4 * SECOND, None),
            ([run(DoneAnswer, 10_000), run(Rejected, 20)].concat(), true, SECOND / 1_000, Some(Cause::Rejecting)),
        ] {
            let (mut breaker, mut now) = running(guards);
            let (last, others) = answers.split_last().unwrap();

            for answer in others {
                breaker.answered(now, now, *answer);
                assert_eq!(breaker.state(), Closed, "{} answers, {last:?} {step:?}", answers.len());
                now += step;
            }
            breaker.answered(now, now, *last);

            assert_eq!(breaker.cause(), cause, "{} answers, {last:?} {step:?}", answers.len());
        }
    }

    #[test]
    fn while_it_is_open_one_probe_comes_after_a_second_doubling_to_thirty() {
        let (mut breaker, mut now) = open(Cause::Failing);

        let pauses = [(); 8].map(|()| probe(&mut breaker, &mut now, Failed).as_secs());

        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn while_a_probe_is_under_way_no_other_order_is_sent() {
        let (mut breaker, now) = open(Cause::Failing);
        let now = now + SECOND;
        assert_eq!(breaker.allows(now, 7), Allowance::UpTo(1), "late answers do not delay it");
        assert_eq!(breaker.state(), HalfOpen);

        let probe = breaker.claim_began(now);

        let until = now + PROBE_ANSWER_MAX;
        assert_eq!(breaker.allows(now, 8), Allowance::Nothing(Some(until)));
        breaker.claim_ended(probe, 0);
        assert_eq!(breaker.allows(now, 7), Allowance::UpTo(1), "nothing was due");
        let probe = breaker.claim_began(now);
        assert!(breaker.claim_ended(probe, 1));
        for (time, in_flight, allowed) in [
            (now + 59 * SECOND, 1, Allowance::Nothing(Some(until))),
            (now + 59 * SECOND, 0, Allowance::UpTo(1)),
            (until, 1, Allowance::UpTo(1)),
        ] {
            assert_eq!(breaker.allows(time, in_flight), allowed, "a lost probe, {in_flight} in flight");
        }
    }

    #[test]
    fn while_it_is_not_closed_only_the_claim_for_the_probe_sends_its_orders() {
        let (mut breaker, now) = running(true);
        let before = breaker.claim_began(now);
        assert_eq!(before, None);
        (0..5).for_each(|_| assert!(breaker.answered(now, now, Failed)));
        assert!(!breaker.claim_ended(before, 500), "it is open");
        let now = now + SECOND;
        breaker.allows(now, 1);
        let lost = breaker.claim_began(now);
        let probe = breaker.claim_began(now + PROBE_ANSWER_MAX);

        for (claim, orders, may_send) in [(before, 0, false), (before, 500, false), (lost, 0, false), (lost, 1, false)]
        {
            assert_eq!(breaker.claim_ended(claim, orders), may_send, "{claim:?} {orders}");
            assert!(matches!(breaker.allows(now, 1), Allowance::Nothing(_)), "the probe is still under way");
        }
        assert!(breaker.claim_ended(probe, 1));
        breaker.answered(now, now, DoneAnswer);
        assert!(breaker.claim_ended(before, 500), "it has closed");
    }

    #[test]
    fn late_rejections_let_the_guard_take_over_while_it_is_not_closed() {
        for (guards, late, half_open, cause) in [
            (true, [Rejected; 20].to_vec(), false, Cause::Rejecting),
            (true, [Rejected; 20].to_vec(), true, Cause::Rejecting),
            (true, [Rejected; 14].to_vec(), false, Cause::Failing),
            (true, [Rejected, DoneAnswer, DoneAnswer].repeat(100), false, Cause::Failing),
            (false, [Rejected; 200].to_vec(), false, Cause::Failing),
        ] {
            let (mut breaker, opened) = running(guards);
            (0..5).for_each(|_| assert!(breaker.answered(opened, opened, Failed)));
            let now = opened + SECOND;
            if half_open {
                breaker.allows(now, 1);
            }
            let state = breaker.state();

            let counted = late.iter().filter(|answer| breaker.answered(now, opened, **answer)).count();

            assert_eq!((breaker.state(), breaker.cause()), (state, Some(cause)), "{guards} {}", late.len());
            assert_eq!(counted, usize::from(cause == Cause::Rejecting), "only the one that shows it");
        }
    }

    #[test]
    fn the_answer_to_a_probe_closes_it_or_not_by_what_had_opened_it() {
        for (cause, answer, closes) in [
            (Cause::Failing, DoneAnswer, true),
            (Cause::Failing, Alive, true),
            (Cause::Failing, Rejected, true),
            (Cause::Failing, Failed, false),
            (Cause::Rejecting, DoneAnswer, true),
            (Cause::Rejecting, Alive, false),
            (Cause::Rejecting, Rejected, false),
            (Cause::Rejecting, Failed, false),
        ] {
            let (mut breaker, mut now) = open(cause);

            probe(&mut breaker, &mut now, answer);

            assert_eq!(breaker.cause(), (!closes).then_some(cause), "{cause:?} {answer:?}");
        }
    }

    #[test]
    fn late_answers_neither_close_it_nor_count_as_probes_nor_open_it_again() {
        for late in [DoneAnswer, Failed, Rejected] {
            let (mut breaker, opened) = open(Cause::Failing);
            assert!(!breaker.answered(opened, opened, late));
            assert_eq!(breaker.state(), Open, "{late:?}");

            let mut now = opened + SECOND;
            breaker.allows(now, 1);
            assert!(!breaker.answered(now, opened, late));
            assert_eq!(breaker.state(), HalfOpen, "{late:?}");

            breaker.answered(now, now, DoneAnswer);
            now += SECOND;
            for _ in 0..20 {
                assert!(!breaker.answered(now, opened, late));
            }
            assert_eq!(breaker.state(), Closed, "{late:?}");
        }
    }

    #[test]
    fn a_start_is_slow_and_grows_with_every_good_answer() {
        let now = Instant::now();
        let starts = Breaker::new(now, true);
        let (mut closed, mut then) = open(Cause::Failing);
        probe(&mut closed, &mut then, DoneAnswer);
        for (mut breaker, allowed) in [(starts, 16), (closed, 1)] {
            assert_eq!(breaker.allows(then, 0), Allowance::UpTo(allowed));
            assert_eq!(breaker.allows(then, allowed), Allowance::Nothing(None));

            for _ in 0..allowed {
                breaker.answered(then, then, Alive);
            }
            breaker.answered(then, then, Failed);

            assert_eq!(breaker.allows(then, 0), Allowance::UpTo(2 * allowed), "a round of good answers doubles it");
            for _ in 0..ALLOWED_MAX {
                breaker.answered(then, then, DoneAnswer);
            }
            assert_eq!(breaker.allows(then, ALLOWED_MAX), Allowance::All);
        }
    }

    #[test]
    fn what_opened_it_is_forgotten_when_it_closes() {
        for (cause, answer, times) in [(Cause::Failing, Failed, 4), (Cause::Rejecting, Rejected, 19)] {
            let (mut breaker, mut now) = open(cause);
            probe(&mut breaker, &mut now, DoneAnswer);

            for _ in 0..times {
                breaker.answered(now, now, answer);
            }

            assert_eq!(breaker.state(), Closed, "{cause:?}");
        }
    }

    #[test]
    fn a_service_that_fails_and_rejects_in_turn_is_guarded_against_too() {
        let (mut breaker, mut now) = running(true);
        let mut rejected = 0;
        while breaker.cause() != Some(Cause::Rejecting) {
            for _ in 0..3 {
                breaker.answered(now, now, Rejected);
                rejected += 1;
            }
            while breaker.state() == Closed {
                breaker.answered(now, now, Failed);
            }
            if breaker.cause() == Some(Cause::Failing) {
                probe(&mut breaker, &mut now, Rejected);
                rejected += 1;
            }
            assert!(rejected < 40, "{breaker:?}");
        }
    }
}
