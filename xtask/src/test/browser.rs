//! The browser that the suite uses to visit pages of other origins.

use anyhow::Result;
use xtask::interrupt::Interrupt;
use xtask::servers::install;

/// Debian's package, and its program.
const CHROMIUM: &str = "chromium";

/// Installs the browser where it is missing and the user may; otherwise says why its tests cannot run.
pub(super) fn obstacle(interrupt: &Interrupt) -> Result<Option<String>> {
    install::provide(CHROMIUM, || install::is_there(CHROMIUM), interrupt)
}
