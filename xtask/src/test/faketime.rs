//! libfaketime, under which the suite runs a worker whose clock is wrong, and servers whose clock is set.

use anyhow::Result;
use xtask::faketime::{PACKAGE, library};
use xtask::interrupt::Interrupt;
use xtask::servers::{MYSQL_IMAGE, Source, install};

/// Installs the library where it is missing and the user may; otherwise says why its tests cannot run.
pub(super) fn obstacle(interrupt: &Interrupt) -> Result<Option<String>> {
    install::provide(PACKAGE, || library().is_some(), interrupt)
}

/// Why the clock of a server from `source` cannot be moved, where the library is installed.
pub(super) fn server_obstacle(source: &Source) -> Option<String> {
    let is_container = matches!(source, Source::Docker(_));
    is_container.then(|| format!("{MYSQL_IMAGE} takes many minutes to start under {PACKAGE}"))
}
