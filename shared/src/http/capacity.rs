use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most connections of one process, if it may have that many descriptors. Each takes 13 kB of resident memory while
/// idle after its first answer, and 34 kB while a head of 16 KiB arrives slowly: 210 and 560 MB for all. Fewer would
/// turn clients away while there is room; more could take memory that the process needs.
pub const CONNECTIONS_MAX: usize = 16_384;

/// At least one descriptor in four is not for clients.
const OWN_ONE_IN: usize = 4;

/// Descriptors that a process needs besides those for clients and the database: for a worker's heartbeats, the log, the
/// ports, the runtime, and a file now and then.
const OWN_MIN: usize = 22;

/// One client descriptor in eight is for connections beyond the capacity, so that a full server can still say that it
/// is full, and that it is alive. Each such connection serves one request.
const SPARE_ONE_IN: usize = 8;

/// More would only be held by clients that are turned away anyway.
const SPARE_MAX: usize = 256;

/// The fewest descriptors for clients that a process can do with: 84 connections, and 12 beyond them. With fewer it
/// would turn away a handful of ordinary clients, and nobody would see why.
const FOR_CLIENTS_MIN: usize = 96;

/// How many connections a server has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections that are served normally.
    pub(super) connections: usize,
    /// Connections beyond those, each of which is served once.
    pub(super) spare: usize,
}

/// The limit on descriptors is lower than the process needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may have {allowed} open files but needs at least {needed} for its clients and its connections to the \
     database: raise the limit (`ulimit -n 4096`), or lower DATABASE_MAX_CONNECTIONS ({to_database})"
)]
pub struct TooFewDescriptors {
    allowed: usize,
    needed: usize,
    to_database: usize,
}

impl Capacity {
    /// The capacity of this process: at most `connections_max`, with `to_database` descriptors kept for the database.
    /// Raises the soft limit on descriptors to the hard limit.
    pub fn of_process(connections_max: usize, to_database: usize) -> Result<Self, TooFewDescriptors> {
        let limit = getrlimit(Resource::Nofile);
        // If that is refused, the limit stays as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
        let allowed = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok());
        Self::within(allowed.unwrap_or(usize::MAX), connections_max, to_database)
    }

    /// Connections that are served normally at one time.
    #[must_use]
    pub fn connections(self) -> usize {
        self.connections
    }

    fn within(allowed: usize, connections_max: usize, to_database: usize) -> Result<Self, TooFewDescriptors> {
        let own = (allowed / OWN_ONE_IN).max(OWN_MIN + to_database);
        let free = allowed.saturating_sub(own);
        if free < FOR_CLIENTS_MIN {
            let needed = FOR_CLIENTS_MIN + OWN_MIN + to_database;
            return Err(TooFewDescriptors { allowed, needed, to_database });
        }
        let spare = (free / SPARE_ONE_IN).min(SPARE_MAX);
        Ok(Self { connections: (free - spare).min(connections_max), spare })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capacity_grows_with_the_descriptors() {
        for (allowed, most, connections, spare) in [
            (128, CONNECTIONS_MAX, 84, 12),
            (256, CONNECTIONS_MAX, 168, 24),
            (1_024, CONNECTIONS_MAX, 672, 96),
            (4_096, CONNECTIONS_MAX, 2_816, 256),
            (65_536, CONNECTIONS_MAX, CONNECTIONS_MAX, SPARE_MAX),
            (usize::MAX, CONNECTIONS_MAX, CONNECTIONS_MAX, SPARE_MAX),
            (65_536, 100, 100, SPARE_MAX),
        ] {
            assert_eq!(Capacity::within(allowed, most, 10), Ok(Capacity { connections, spare }), "{allowed}");
        }
    }

    #[test]
    fn with_too_few_descriptors_there_is_none_and_a_line_says_what_to_do() {
        for (allowed, to_database, needed) in [(127, 10, "128"), (256, 200, "318")] {
            let error = Capacity::within(allowed, CONNECTIONS_MAX, to_database).unwrap_err().to_string();

            for part in [needed, "`ulimit -n", &format!("DATABASE_MAX_CONNECTIONS ({to_database})")] {
                assert!(error.contains(part) && !error.contains('\n'), "{error}");
            }
        }
    }
}
