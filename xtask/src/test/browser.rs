//! The browser with which the suite visits pages of others.

use anyhow::Result;

use crate::database::install;
use crate::interrupt::Interrupt;

/// Debian's package, and its program.
const CHROMIUM: &str = "chromium";

/// Installs the browser where it is missing and the user may; otherwise says why its tests cannot run.
pub(super) fn obstacle(interrupt: &Interrupt) -> Result<Option<String>> {
    install::provide(CHROMIUM, || install::is_there(CHROMIUM), interrupt)
}
