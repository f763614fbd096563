use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections of one process at most, where it may have that many descriptors. Each takes 13 kB of resident memory while
/// idle once it was answered, and 34 kB while a head of 16 KiB arrives slowly: 210 and 560 MB for all. Fewer would turn clients
/// away while there is room; more could take the memory that the process needs.
pub const CONNECTIONS_MAX: usize = 16_384;

/// One descriptor in so many, at least, is not for clients.
const OWN_ONE_IN: usize = 4;

/// Descriptors that a process needs beside its clients and its connections to the database: a worker's heartbeats, the log,
/// the ports, the runtime's own, a file now and then.
const OWN_MIN: usize = 22;

/// Of those for clients, one in so many is for connections beyond the capacity, so that a full server still says that it is
/// full, and that it is alive. Each serves one request.
const SPARE_ONE_IN: usize = 8;

/// More of them would be held by clients that are turned away anyway.
const SPARE_MAX: usize = 256;

/// Descriptors for clients that a process must have at least, 84 connections and 12 beyond them: with fewer it would turn away a
/// handful of usual clients, and nobody would see why.
const FOR_CLIENTS_MIN: usize = 96;

/// How many connections a server has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections that are served.
    pub(super) connections: usize,
    /// Connections beyond those.
    pub(super) spare: usize,
}

/// The process may not have as many descriptors as it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may have {allowed} open files and needs {needed} at least, for its clients and its connections to the \
     database: raise the limit (`ulimit -n 4096`), or lower DATABASE_MAX_CONNECTIONS ({to_database})"
)]
pub struct TooFewDescriptors {
    allowed: usize,
    needed: usize,
    to_database: usize,
}

impl Capacity {
    /// What this process has room for, `connections_max` at most and beside so many to the database. Raises the soft limit on
    /// descriptors to the hard one.
    pub fn of_process(connections_max: usize, to_database: usize) -> Result<Self, TooFewDescriptors> {
        let limit = getrlimit(Resource::Nofile);
        // Where that is refused, the limit stays as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
        let allowed = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok());
        Self::within(allowed.unwrap_or(usize::MAX), connections_max, to_database)
    }

    /// Connections that are served at one time.
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
