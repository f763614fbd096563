//! MariaDB's dump program, by which the suite makes the backup that the documentation describes.

use anyhow::Result;
use xtask::interrupt::Interrupt;
use xtask::servers::{Maker, Source, install};

/// Debian's and Ubuntu's package, and its program.
const PACKAGE: &str = "mariadb-client";
const DUMP: &str = "mariadb-dump";

/// Installs the program where it is missing and the user may; otherwise says why its test cannot run.
pub(super) fn obstacle(source: &Source, interrupt: &Interrupt) -> Result<Option<String>> {
    match source {
        Source::Private(program) if program.maker == Maker::MariaDb => {
            install::provide(PACKAGE, || install::is_there(DUMP), interrupt)
        }
        _ => Ok(Some("this run is not on an installed MariaDB".to_owned())),
    }
}
