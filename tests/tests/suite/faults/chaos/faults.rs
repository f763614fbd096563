//! What may go wrong.

use std::time::Duration;

use super::dice::Dice;

/// How many programs there are to choose from.
pub(super) const APIS: usize = 2;
pub(super) const WORKERS: usize = 3;

/// Longer than a call may take.
const LONG: Duration = Duration::from_secs(6);

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
    StallConnections,
    SlowConnections(Duration),
    DropConnections,
    LoseAnswerToCommit,
    /// Clients of an API that go before their answers.
    ClientsLeave(usize),
    /// For longer than clients wait.
    FreezeServerForLong(Duration),
    /// A session of somebody else's locks the table `orders`.
    LockOrders,
    /// New sessions inherit it.
    NoAutocommit,
    SafeUpdates,
    /// The account may have only a few connections.
    FewConnections,
    /// Not even an administrator may write, where the server knows the difference.
    SuperReadOnly,
}

impl Fault {
    pub(super) fn choose(dice: &mut Dice) -> Self {
        // Each is drawn every time, so that a new fault does not change what the others of a seed are.
        let (kind, worker, api, time) = (dice.below(21), dice.below(WORKERS), dice.below(APIS), dice.millis(50..2_000));
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
            10 => Self::StallConnections,
            11 => Self::SlowConnections(time / 20),
            12 => Self::DropConnections,
            13 => Self::LoseAnswerToCommit,
            14 => Self::ClientsLeave(api),
            15 => Self::FreezeServerForLong(LONG + time),
            16 => Self::LockOrders,
            17 => Self::NoAutocommit,
            18 => Self::SafeUpdates,
            19 => Self::FewConnections,
            _ => Self::SuperReadOnly,
        }
    }
}
