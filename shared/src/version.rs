//! Which build a program is, so that an operator can tell an old process from a new one.

use std::fmt;

/// A release, as [SemVer](https://semver.org) has it, with the revision of its source. It reads `0.1.0+3f2a9c1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The release, such as `0.1.0`.
    pub release: &'static str,
    /// The revision, such as `3f2a9c1d`; `unknown` where the build was not told.
    pub revision: &'static str,
}

impl Version {
    /// The version of a program that was built with this revision, which a build may not know.
    #[must_use]
    pub const fn new(release: &'static str, revision: Option<&'static str>) -> Self {
        match revision {
            Some(revision) if !revision.is_empty() => Self { release, revision },
            _ => Self { release, revision: "unknown" },
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.release, self.revision)
    }
}
