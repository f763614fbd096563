//! Limits how many orders are claimed for a service that fails, rejects everything, asks for a pause, or may be sent
//! only so many a second.
//!
//! The processor shows the gate every outcome. The claimer asks the gate before every claim, and tells the claim
//! schedule.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use orders_shared::domain::{BreakerState, ErrorClass, NotDone, Outcome, WorkError};
use tokio::sync::{Notify, watch};

use crate::allowance::Allowance;
use crate::breaker::{Answer, Breaker, Cause, Probe};
use crate::metrics::GateMetrics;
use crate::rate::Rate;

/// The longest pause of a process that an answer of the unavailable service asks for. The order itself waits for as long
/// as the answer says.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Characters of a reason that are kept, as many as its column takes.
const REASON_CHARS_MAX: usize = 255;

/// What a gate limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GateSettings {
    /// Whether it closes for a service that rejects most orders.
    pub(crate) guard: bool,
    /// Orders a second, of all workers together.
    pub(crate) rate: Option<f64>,
}

/// The gate of one worker.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    /// What is allowed may have changed.
    changed: Notify,
    shown: watch::Sender<Shown>,
    metrics: OnceLock<GateMetrics>,
}

/// What others are told of the breaker: its state, and why it is not closed, for people.
pub(crate) type Shown = (BreakerState, Option<String>);

impl Gate {
    pub(crate) fn new(settings: GateSettings) -> Self {
        let shown = watch::Sender::new((BreakerState::Closed, None));
        let state = Mutex::new(State::new(Instant::now(), settings));
        Self { state, changed: Notify::new(), shown, metrics: OnceLock::new() }
    }

    /// Shows its state in these metrics from now on.
    pub(crate) fn report_to(&self, metrics: GateMetrics) {
        let _ = self.metrics.set(metrics);
    }

    /// Takes note of how an order ended that was sent to the service at `sent_at`. Returns the outcome that stands: with
    /// the guard on, no order is FAILED by the answer of a service that is not well.
    pub(crate) fn judge(&self, sent_at: Instant, outcome: Outcome) -> Outcome {
        let mut state = self.lock();
        let cause_before = state.breaker.cause();
        let outcome = state.judge(Instant::now(), sent_at, outcome);
        match state.breaker.cause() {
            cause if cause == cause_before => {}
            Some(cause) => {
                tracing::warn!(reason = state.reason, "the breaker opened: orders wait for the service");
                if let Some(metrics) = self.metrics.get() {
                    metrics.opened(cause);
                }
            }
            None => tracing::info!("the service is back"),
        }
        self.show(&state);
        drop(state);
        self.changed.notify_one();
        outcome
    }

    /// How many more orders may be claimed while so many are in flight.
    pub(crate) fn allows(&self, in_flight: usize) -> Allowance {
        let mut state = self.lock();
        let allowed = state.allows(Instant::now(), in_flight);
        self.show(&state);
        allowed
    }

    /// A claim of at most this many orders has begun. Returns the probe that it is made for, if it is.
    pub(crate) fn claim_began(&self, limit: usize) -> Option<Probe> {
        self.lock().claim_began(Instant::now(), limit)
    }

    /// A claim of at most `limit` orders, perhaps for a probe, has ended, and brought this many. Returns whether they may
    /// be sent.
    pub(crate) fn claim_ended(&self, probe: Option<Probe>, limit: usize, orders: usize) -> bool {
        self.lock().claim_ended(probe, limit, orders)
    }

    /// Waits until what is allowed may have changed. Only one task waits at a time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The state of the breaker, and why it is not closed, for people.
    pub(crate) fn state(&self) -> Shown {
        self.shown.borrow().clone()
    }

    /// Waits until the state of the breaker, or the reason, is not this.
    pub(crate) async fn state_other_than(&self, known: &Shown) {
        // It fails only if the sender is gone, which this gate has.
        let _ = self.shown.subscribe().wait_for(|shown| shown != known).await;
    }

    /// So many live workers push orders, and share the rate.
    pub(crate) fn set_pushing(&self, workers: u32) {
        if self.lock().set_pushing(Instant::now(), workers) {
            self.changed.notify_one();
        }
    }

    fn show(&self, state: &State) {
        let changed = self.shown.send_if_modified(|(shown, reason)| {
            let is_other = *shown != state.breaker.state() || *reason != state.reason;
            if is_other {
                (*shown, *reason) = (state.breaker.state(), state.reason.clone());
            }
            is_other
        });
        if changed && let Some(metrics) = self.metrics.get() {
            metrics.is_in(state.breaker.state());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that a gate decides by. It is told the time.
#[derive(Debug)]
struct State {
    guard: bool,
    breaker: Breaker,
    /// Why the breaker is not closed.
    reason: Option<String>,
    rate: Option<Rate>,
    /// The service asked for a pause until then.
    paused_until: Option<Instant>,
}

impl State {
    fn new(now: Instant, settings: GateSettings) -> Self {
        Self {
            guard: settings.guard,
            breaker: Breaker::new(now, settings.guard),
            reason: None,
            rate: settings.rate.map(|rate| Rate::new(now, rate)),
            paused_until: None,
        }
    }

    fn judge(&mut self, now: Instant, sent_at: Instant, outcome: Outcome) -> Outcome {
        // A retry may be the order's own fault, and no reason to stop the others.
        if let Err(NotDone::Unavailable { after: Some(after), .. }) = outcome {
            self.paused_until = self.paused_until.max(Some(now + after.min(PAUSE_MAX)));
        }
        let counts = self.breaker.answered(now, sent_at, Answer::of(&outcome));
        match self.breaker.cause() {
            None => self.reason = None,
            Some(cause) if counts => {
                let message = outcome.as_ref().err().and_then(NotDone::error).map_or("", |error| &error.message);
                self.reason = Some(format!("{}: {message}", cause.name()).chars().take(REASON_CHARS_MAX).collect());
            }
            Some(_) => {}
        }
        match outcome {
            Err(NotDone::Rejected(error)) if self.guard && (!counts || self.breaker.cause().is_some()) => {
                Err(put_back(self.breaker.cause(), error))
            }
            outcome => outcome,
        }
    }

    fn allows(&mut self, now: Instant, in_flight: usize) -> Allowance {
        if let Some(until) = self.paused_until.filter(|until| now < *until) {
            return Allowance::Nothing(Some(until));
        }
        let by_breaker = self.breaker.allows(now, in_flight);
        match (by_breaker, &mut self.rate) {
            (Allowance::Nothing(_), _) | (_, None) => by_breaker,
            (_, Some(rate)) => match (by_breaker, rate.allows(now)) {
                (Allowance::UpTo(some), Allowance::UpTo(others)) => Allowance::UpTo(some.min(others)),
                (_, by_rate) => by_rate,
            },
        }
    }

    fn claim_began(&mut self, now: Instant, limit: usize) -> Option<Probe> {
        if let Some(rate) = &mut self.rate {
            rate.claim_began(limit);
        }
        self.breaker.claim_began(now)
    }

    fn claim_ended(&mut self, probe: Option<Probe>, limit: usize, orders: usize) -> bool {
        let may_send = self.breaker.claim_ended(probe, orders);
        if let Some(rate) = &mut self.rate {
            rate.claim_ended(limit, if may_send { orders } else { 0 });
        }
        may_send
    }

    fn set_pushing(&mut self, now: Instant, workers: u32) -> bool {
        self.rate.as_mut().is_some_and(|rate| rate.share(now, workers))
    }
}

/// The outcome of an order that was rejected while the breaker was not closed, or else was sent before it closed again.
fn put_back(cause: Option<Cause>, error: WorkError) -> NotDone {
    let why = match cause {
        Some(Cause::Rejecting) => "the service rejects most orders",
        Some(Cause::Failing) => "the service is failing",
        None => "it was sent before the service was well again",
    };
    let message = format!("put back, since {why}: {}", error.message);
    NotDone::Unavailable { error: WorkError { class: ErrorClass::REJECTING, message, ..error }, after: None }
}

#[cfg(test)]
mod tests {
    use orders_shared::domain::Done;

    use super::Allowance::{Nothing, UpTo};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn state(guard: bool, rate: Option<f64>) -> (State, Instant) {
        let now = Instant::now();
        (State::new(now, GateSettings { guard, rate }), now)
    }

    fn rejected() -> Outcome {
        Err(NotDone::rejected(WorkError::new(ErrorClass::HTTP_4XX, "the service answered 422")))
    }

    #[test]
    fn an_unavailable_service_that_asks_for_a_pause_pauses_the_process_for_half_a_minute_at_most() {
        let retry = |after| Err(NotDone::Retry { error: "busy".into(), after });
        let unavailable = |after| Err(NotDone::Unavailable { error: "busy".into(), after });
        let secs = |secs| Some(Duration::from_secs(secs));
        for (outcomes, pause) in [
            (vec![Ok(Done::default()), retry(None), unavailable(None)], None),
            (vec![retry(secs(7))], None),
            (vec![unavailable(secs(7))], Some(7)),
            (vec![unavailable(secs(3_600))], Some(30)),
            (vec![unavailable(secs(7)), unavailable(secs(3)), retry(secs(20))], Some(7)),
        ] {
            let (mut state, now) = state(true, None);

            for outcome in &outcomes {
                assert_eq!(&state.judge(now, now, outcome.clone()), outcome);
            }

            let until = pause.map(|pause| now + pause * SECOND);
            assert_eq!(until.map(|_| state.allows(now, 0)), until.map(|until| Nothing(Some(until))), "{outcomes:?}");
            assert!(matches!(state.allows(until.unwrap_or(now), 0), UpTo(_)), "{outcomes:?}");
        }
    }

    #[test]
    fn the_lesser_of_breaker_and_rate_holds() {
        for (rate, in_flight, allowed) in [
            (None, 0, UpTo(16)),
            (None, 10, UpTo(6)),
            (Some(100.0), 0, UpTo(6)),
            (Some(100.0), 14, UpTo(2)),
            (Some(100.0), 16, Nothing(None)),
        ] {
            let (mut state, start) = state(true, rate);
            state.set_pushing(start, 1);

            let is = state.allows(start + SECOND, in_flight);

            assert_eq!(is, allowed, "{rate:?} {in_flight}");
        }
    }

    #[test]
    fn no_order_is_failed_once_the_guard_has_found_the_service_rejecting() {
        let (mut state, now) = state(true, None);
        let outcomes: Vec<_> = (0..200).map(|_| state.judge(now, now, rejected())).collect();
        state.allows(now + SECOND, 0);
        let probe = state.judge(now + SECOND, now + SECOND, rejected());

        let failed = outcomes.iter().filter(|outcome| **outcome == rejected()).count();
        assert_eq!(failed, 19, "the twentieth shows it");
        for outcome in outcomes.iter().skip(19).chain([&probe]) {
            assert!(
                matches!(outcome, Err(NotDone::Unavailable { error, after: None }) if error.class == ErrorClass::REJECTING),
                "{outcome:?}"
            );
        }
        assert_eq!(state.reason.as_deref(), Some("rejecting: the service answered 422"));
    }

    #[test]
    fn no_order_is_failed_that_was_sent_before_the_breaker_opened_or_closed() {
        let failed = || Err(NotDone::unavailable(WorkError::new(ErrorClass::CONNECT, "refused")));
        for (guard, closes_first, stand, reason) in [
            (true, false, 0, Some("rejecting: the service answered 422")),
            (true, true, 0, None),
            (false, false, 200, Some("failing: refused")),
            (false, true, 200, None),
        ] {
            let (mut state, sent_at) = state(guard, None);
            let mut now = sent_at;
            for _ in 0..5 {
                assert_eq!(state.judge(now, sent_at, failed()), failed());
            }
            if closes_first {
                now += SECOND;
                state.allows(now, 200);
                assert_eq!(state.judge(now, now, Ok(Done::default())), Ok(Done::default()));
            }

            let late: Vec<_> = (0..200).map(|_| state.judge(now, sent_at, rejected())).collect();

            let stood = late.iter().filter(|outcome| **outcome == rejected()).count();
            assert_eq!((stood, state.reason.as_deref()), (stand, reason), "{guard} {closes_first}");
        }
    }

    #[test]
    fn without_the_guard_every_rejected_order_is_failed() {
        let (mut state, now) = state(false, None);

        for _ in 0..200 {
            assert_eq!(state.judge(now, now, rejected()), rejected());
        }

        assert_eq!((state.breaker.cause(), state.reason), (None, None));
    }

    #[test]
    fn the_reason_tells_the_last_failure_while_the_breaker_is_not_closed() {
        let failed = |message: &str| Err(NotDone::unavailable(WorkError::new(ErrorClass::CONNECT, message)));
        let (mut state, now) = state(true, None);
        let judge = |state: &mut State, now, sent_at, outcome: Outcome| {
            assert_eq!(state.judge(now, sent_at, outcome.clone()), outcome);
        };
        for _ in 0..4 {
            judge(&mut state, now, now, failed("refused"));
        }
        assert_eq!(state.reason, None);

        judge(&mut state, now, now, failed(&"é".repeat(300)));
        assert_eq!(state.reason.as_ref().map(|reason| reason.chars().count()), Some(REASON_CHARS_MAX));

        let later = now + SECOND;
        state.allows(later, 0);
        judge(&mut state, later, later, failed("refused again"));
        judge(&mut state, later, now, failed("a late answer"));
        assert_eq!(state.reason.as_deref(), Some("failing: refused again"));

        let later = now + 3 * SECOND;
        state.allows(later, 0);
        judge(&mut state, later, later, Ok(Done::default()));
        assert_eq!(state.reason, None);
    }
}
