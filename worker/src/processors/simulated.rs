//! The built-in processor: stands in for real work and, if a setting says so, fails in every way that real work can.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use clap::ValueEnum;
use orders_shared::domain::{Done, NotDone, Order, Outcome, ProcessorKind};

use super::processor::{Attempt, Processor, Work};

/// Work that takes a while and succeeds, except for its faults.
#[derive(Clone, Debug)]
pub struct Simulated {
    pub(crate) duration: Duration,
    /// Replaces the duration in an attempt with the fault `slow`.
    pub(crate) slow: Duration,
    pub(crate) faults: Faults,
}

/// Which orders go wrong, and how: `fail=0.1,kill=user:13`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults(Vec<(Fault, Chosen)>);

/// A way to go wrong. Each attempt is chosen separately, except that `Reject` and `Kill` stay with their orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
enum Fault {
    /// A retryable error.
    Fail,
    /// A permanent error.
    Reject,
    Panic,
    Slow,
    Hang,
    /// The process ends at once, as in a crash.
    Kill,
}

/// The orders that have a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Chosen {
    /// This share of all orders, 0.0 to 1.0, chosen by id: the same ones in every process.
    Share(f64),
    /// The orders of one user.
    User(i64),
}

impl Work {
    /// Work that is only simulated.
    #[must_use]
    pub fn simulated(simulated: Simulated) -> Self {
        Self { kind: ProcessorKind::Simulated, ..Self::of(simulated) }
    }
}

#[async_trait]
impl Processor for Simulated {
    async fn process(&self, Attempt { order, .. }: Attempt<'_>) -> Outcome {
        let has = |fault| self.faults.0.iter().any(|(it, chosen)| *it == fault && chosen.includes(fault, order));
        if has(Fault::Kill) {
            std::process::abort();
        }
        if has(Fault::Hang) {
            std::future::pending::<()>().await;
        }
        let duration = if has(Fault::Slow) { self.slow } else { self.duration };
        if !duration.is_zero() {
            tokio::time::sleep(duration).await;
        }
        if has(Fault::Panic) {
            std::panic::resume_unwind(Box::new("simulated panic"));
        }
        if has(Fault::Reject) {
            return Err(NotDone::rejected("simulated permanent error"));
        }
        if has(Fault::Fail) {
            return Err(NotDone::retry("simulated error"));
        }
        Ok(Done::default())
    }
}

impl Chosen {
    fn includes(self, fault: Fault, order: &Order) -> bool {
        match self {
            Self::User(user_id) => order.user_id.get() == user_id,
            Self::Share(share) => {
                let mut hasher = DefaultHasher::new();
                (fault, order.order_id).hash(&mut hasher);
                if !matches!(fault, Fault::Kill | Fault::Reject) {
                    order.attempt.hash(&mut hasher);
                }
                // Ten thousand classes are fine enough, and a float holds them exactly.
                f64::from(u32::try_from(hasher.finish() % 10_000).unwrap_or_default()) < share * 10_000.0
            }
        }
    }
}

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let faults = text.split(',').map(str::trim).filter(|fault| !fault.is_empty());
        faults.map(fault).collect::<Result<_, _>>().map(Self)
    }
}

fn fault(text: &str) -> Result<(Fault, Chosen), String> {
    let (kind, chosen) = text.split_once('=').ok_or_else(|| format!("`{text}` is not kind=share or kind=user:ID"))?;
    let kind = Fault::from_str(kind, false)
        .map_err(|_| format!("`{kind}` is not one of fail, reject, panic, slow, hang and kill"))?;
    let user = chosen.strip_prefix("user:").map(str::parse);
    let chosen = match (user, chosen.parse()) {
        (Some(Ok(user_id)), _) => Chosen::User(user_id),
        (None, Ok(share)) if (0.0..=1.0).contains(&share) => Chosen::Share(share),
        _ => return Err(format!("`{chosen}` is neither a share from 0 to 1 nor user:ID")),
    };
    Ok((kind, chosen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_documented() {
        let faults = "fail=0.25, kill=user:13".parse();

        assert_eq!(faults, Ok(Faults(vec![(Fault::Fail, Chosen::Share(0.25)), (Fault::Kill, Chosen::User(13))])));
        assert_eq!("".parse(), Ok(Faults::default()));
    }

    #[test]
    fn a_text_that_names_no_fault_is_rejected() {
        for text in ["fail", "fail=", "fail=2", "fail=-0.1", "fail=NaN", "explode=1", "kill=user:", "kill=user:x"] {
            assert!(text.parse::<Faults>().is_err(), "{text}");
        }
    }
}
