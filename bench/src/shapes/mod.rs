//! The shapes of load and tables that are measured, one after the other.

mod both;
mod drain;
mod intake;
mod latency;
mod naive;
mod scale;
mod stranger;
mod wakeup;

use anyhow::Result;
use clap::ValueEnum;

use crate::bench::Bench;
use crate::report::Report;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// Orders without any of the techniques, and the same in batches, straight on the database
    Naive,
    /// Single orders, on an empty table
    Intake,
    /// Batches of 100
    Batch,
    /// Single orders of 100 items
    Items,
    /// Orders that wait, claimed and completed by one worker
    Drain,
    /// The same behind orders that are scheduled for later
    Future,
    /// The same with four workers
    Workers,
    /// Orders that wait, pushed to a service that does nothing
    Push,
    /// Orders placed and completed at the same time
    Both,
    /// The same while a transaction keeps its read view open
    View,
    /// Orders that arrive on a fixed schedule
    Latency,
    /// Orders placed one by one on an idle system
    Wakeup,
    /// Reads and claims on a small table and on a large one
    Scale,
    /// Orders that arrive beside a stranger who attacks both programs; only where it is asked for
    Stranger,
}

impl Shape {
    /// The shapes of a run that names none. The stranger is not among them, because the next shape would suffer from
    /// what it does to the machine.
    pub(crate) fn usual() -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|shape| *shape != Self::Stranger).collect()
    }

    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) async fn measure(self, bench: &Bench, report: &mut Report) -> Result<()> {
        match self {
            Self::Naive => naive::measure(bench, report).await,
            Self::Intake => intake::single(bench, report).await,
            Self::Batch => intake::batches(bench, report).await,
            Self::Items => intake::many_items(bench, report).await,
            Self::Drain => drain::one_worker(bench, report).await,
            Self::Future => drain::behind_future(bench, report).await,
            Self::Workers => drain::four_workers(bench, report).await,
            Self::Push => drain::pushed(bench, report).await,
            Self::Both => both::plain(bench, report).await,
            Self::View => both::beside_a_view(bench, report).await,
            Self::Latency => latency::measure(bench, report).await,
            Self::Wakeup => wakeup::measure(bench, report).await,
            Self::Scale => scale::measure(bench, report).await,
            Self::Stranger => stranger::measure(bench, report).await,
        }
    }
}
