use std::time::Duration;

/// How long and how much each shape measures.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    /// Duration of each of the two measurements of R0, the database server's own transaction rate.
    pub(crate) r0: Duration,
    /// Duration of each load without a field of its own.
    pub(crate) load: Duration,
    /// Duration of the shapes `Both` and `View`.
    pub(crate) both: Duration,
    /// Duration of the shape `Latency`.
    pub(crate) latency: Duration,
    /// Duration of the load beside a stranger.
    pub(crate) stranger: Duration,
    /// Orders that wait before a drain.
    pub(crate) drained: u64,
    /// Orders placed one by one on an idle system.
    pub(crate) wakeups: u32,
    /// How long an idle worker's queries are counted.
    pub(crate) idle: Duration,
    /// Orders that wait before they are pushed to a service.
    pub(crate) pushed: u64,
    /// Orders scheduled for later, placed before those that are drained.
    pub(crate) future: u64,
    /// Orders of the large table.
    pub(crate) finished: u64,
    pub(crate) waiting: u64,
    /// Orders claimed and completed, on a small table and on the large one.
    pub(crate) claimed: u64,
}

impl Sizes {
    pub(crate) const FULL: Self = Self {
        r0: Duration::from_secs(30),
        load: Duration::from_secs(30),
        both: Duration::from_mins(1),
        latency: Duration::from_mins(1),
        stranger: Duration::from_secs(30),
        drained: 300_000,
        pushed: 100_000,
        wakeups: 500,
        idle: Duration::from_secs(20),
        future: 100_000,
        finished: 10_000_000,
        waiting: 1_000_000,
        claimed: 100_000,
    };

    pub(crate) const QUICK: Self = Self {
        r0: Duration::from_secs(5),
        load: Duration::from_secs(5),
        both: Duration::from_secs(9),
        latency: Duration::from_secs(8),
        stranger: Duration::from_secs(12),
        drained: 20_000,
        pushed: 20_000,
        wakeups: 50,
        idle: Duration::from_secs(3),
        future: 20_000,
        finished: 100_000,
        waiting: 30_000,
        claimed: 15_000,
    };
}
