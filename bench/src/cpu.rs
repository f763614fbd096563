//! How much processor time an order takes, and where.

use std::fs;

use crate::bench::Bench;
use crate::figures::quotient;
use crate::programs::Program;

/// Linux reports a process's time in hundredths of a second.
const TICK_MICROS: f64 = 10_000.0;

/// Microseconds an order, of each part of the system.
pub(crate) type Shares = Vec<(&'static str, f64)>;

/// The processor time that each process has taken so far.
pub(crate) struct Meter(Vec<(&'static str, u32, u64)>);

impl Meter {
    /// Starts counting for these programs, the load itself and, if its process is known, the database server.
    pub(crate) fn start(bench: &Bench, programs: &[Program]) -> Self {
        let ours = programs.iter().map(|program| (program.name, program.id()));
        let server = bench.server_pid.map(|id| ("the database server", id));
        let all = ours.chain(server).chain([("the clients", std::process::id())]);
        Self(all.filter_map(|(name, id)| Some((name, id, ticks(id)?))).collect())
    }

    /// The time taken since the start, divided among so many orders.
    pub(crate) fn shares(&self, orders: u64) -> Shares {
        let taken = |(name, id, before): &(&'static str, u32, u64)| {
            let ticks = ticks(*id)?.saturating_sub(*before);
            Some((*name, quotient(ticks, quotient(orders, 1.0)) * TICK_MICROS))
        };
        self.0.iter().filter_map(taken).collect()
    }
}

/// In the programs themselves and in the kernel for them.
fn ticks(id: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, in parentheses, may hold spaces; the times are the 14th and 15th field, the 12th and 13th after it.
    let mut times = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?)
}
