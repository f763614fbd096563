//! curl, with which the suite takes the tour that the documentation prints.

use anyhow::Result;

use crate::database::install;
use crate::interrupt::Interrupt;

/// Debian's and Ubuntu's package, and its program.
const CURL: &str = "curl";

/// Installs the program where it is missing and the user may; otherwise says why its test cannot run.
pub(super) fn obstacle(interrupt: &Interrupt) -> Result<Option<String>> {
    install::provide(CURL, || install::is_there(CURL), interrupt)
}
