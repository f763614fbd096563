//! libfaketime, under which the suite runs a worker whose clock is wrong, and servers whose clock is set.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::database::{MYSQL_IMAGE, Source, install};
use crate::interrupt::Interrupt;

/// Debian's and Ubuntu's package.
const PACKAGE: &str = "libfaketime";

/// Where it puts the library, in the folder of the machine's kind.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// Installs the library where it is missing and the user may; otherwise says why its tests cannot run.
pub(super) fn obstacle(interrupt: &Interrupt) -> Result<Option<String>> {
    install::provide(PACKAGE, || library().is_some(), interrupt)
}

/// Why the clock of a server from `source` cannot be moved, where the library is installed.
pub(super) fn server_obstacle(source: &Source) -> Option<String> {
    let is_container = matches!(source, Source::Docker(_));
    is_container.then(|| format!("{MYSQL_IMAGE} takes many minutes to start under {PACKAGE}"))
}

fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    folders.map(|folder| folder.path().join(LIBRARY)).find(|library| library.is_file())
}
