use std::time::Duration;

/// The ways in which a stranger hurts. Each has hurt once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attack {
    /// Asks for what takes a query, and resets the connection: each one interrupted what the API did for it.
    AsksAndGoes,
    /// Asks the worker again and again whether it is ready, which no limit may hold back.
    ProbesWorker,
    /// The same with the API.
    ProbesApi,
    /// Asks for the API's metrics again and again.
    Scrapes,
    /// Reads the largest pages of the heaviest orders.
    ReadsPages,
    /// Asks for them and hardly reads.
    ReadsSlowly,
    /// Waits for an order's end, sends a byte behind the request, and resets the connection.
    WaitsAndGoes,
    /// Waits for an order's end as long as it may.
    Waits,
    /// Announces the largest body, and sends it bit by bit.
    DripsBodies,
    /// Sends the largest head byte by byte.
    DripsHeads,
    /// The same with the worker.
    DripsHeadsAtWorker,
    /// Closes its side, leaves `Host` out, names a transfer coding that nobody has.
    SpeaksOddly,
    /// Connects and says nothing.
    Idles,
    /// The same with the worker.
    IdlesAtWorker,
    /// Takes all connections that it gets, in the last third of the time: before, it would leave no room for the other
    /// attacks.
    Floods,
}

impl Attack {
    pub(super) const ALL: [Self; 15] = [
        Self::AsksAndGoes,
        Self::ProbesWorker,
        Self::ProbesApi,
        Self::Scrapes,
        Self::ReadsPages,
        Self::ReadsSlowly,
        Self::WaitsAndGoes,
        Self::Waits,
        Self::DripsBodies,
        Self::DripsHeads,
        Self::DripsHeadsAtWorker,
        Self::SpeaksOddly,
        Self::Idles,
        Self::IdlesAtWorker,
        Self::Floods,
    ];

    /// Connections at one time. Without the flood, those to the API are fewer than the 1,945 that it gives one address,
    /// so that every attack comes through; with it they are more.
    pub(super) const fn clients(self) -> usize {
        match self {
            Self::AsksAndGoes | Self::WaitsAndGoes => 16,
            Self::ProbesWorker | Self::ProbesApi | Self::Scrapes => 300,
            Self::ReadsPages | Self::ReadsSlowly => 6,
            Self::Waits => 400,
            // As many bodies, held as far as they have come, fill 300 MiB.
            Self::DripsBodies | Self::DripsHeads | Self::DripsHeadsAtWorker => 100,
            Self::SpeaksOddly => 8,
            Self::Idles | Self::IdlesAtWorker => 600,
            // More than the API has for all addresses together.
            Self::Floods => 2_600,
        }
    }

    /// When it begins, of a time that lasts `during`.
    pub(super) fn begins_after(self, during: Duration) -> Duration {
        match self {
            Self::Floods => during * 2 / 3,
            _ => Duration::ZERO,
        }
    }
}
