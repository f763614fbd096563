//! What may go wrong.

use std::time::Duration;

use super::dice::Dice;
use super::stage::{APIS, WORKERS};

/// One thing that goes wrong; what lasts is mended at a later one. The numbers say which worker or API.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    KillWorker(usize),
    /// Past its deadline: the others rescue its orders meanwhile.
    PauseWorker(usize),
    TerminateWorker(usize),
    KillApi(usize),
    TerminateApi(usize),
    RestartServer,
    /// It is down for so long.
    KillServer(Duration),
    FreezeServer(Duration),
    KillConnections,
    ReadOnly,
    StallLine,
    SlowLine(Duration),
    DropLine,
    LoseAnswerToCommit,
}

impl Fault {
    pub(super) fn choose(dice: &mut Dice) -> Self {
        // Each is drawn every time, so that a new fault does not change what the others of a seed are.
        let (kind, worker, api, time) = (dice.below(14), dice.below(WORKERS), dice.below(APIS), dice.millis(50..2_000));
        match kind {
            0 => Self::KillWorker(worker),
            1 => Self::PauseWorker(worker),
            2 => Self::TerminateWorker(worker),
            3 => Self::KillApi(api),
            4 => Self::TerminateApi(api),
            5 => Self::RestartServer,
            6 => Self::KillServer(time),
            7 => Self::FreezeServer(time),
            8 => Self::KillConnections,
            9 => Self::ReadOnly,
            10 => Self::StallLine,
            11 => Self::SlowLine(time / 20),
            12 => Self::DropLine,
            _ => Self::LoseAnswerToCommit,
        }
    }
}
