//! libfaketime, under which the suite runs a worker whose clock is wrong, and servers whose clock is set.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::database::{MYSQL_IMAGE, Source, install};
use crate::interrupt::Interrupt;

/// Debian's and Ubuntu's package.
const PACKAGE: &str = "libfaketime";

/// Where it puts the library, in the folder of the machine's kind.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// Installs the library where it is missing and the user may; otherwise says why its tests cannot run.
pub(super) fn obstacle(interrupt: &Interrupt) -> Result<Option<String>> {
    if is_there() {
        return Ok(None);
    }
    if !install::is_allowed(interrupt)? {
        return Ok(Some(format!("install {PACKAGE}")));
    }
    if let Err(error) = install::packages(&[PACKAGE], interrupt) {
        interrupt.check()?;
        return Ok(Some(format!("{error:#}")));
    }
    Ok((!is_there()).then(|| format!("{PACKAGE} is installed, but {LIBRARY} is not found")))
}

/// Why the clock of a server from `source` cannot be moved, where the library is installed: a container's image may be of
/// another kind of machine or have too old a C library, and its engine may not see this machine's files.
pub(super) fn server_obstacle(source: &Source, interrupt: &Interrupt) -> Result<Option<String>> {
    let (Source::Docker(engine), Some(library)) = (source, library()) else {
        return Ok(None);
    };
    let volume = format!("--volume={}:/clock.so:ro", library.display());
    let options = ["run", "--rm", &volume, "--env=LD_PRELOAD=/clock.so", "--env=FAKETIME=-10m"];
    let date = ["--entrypoint=date", MYSQL_IMAGE, "+%s"];
    let answer = engine.ask(&[&options[..], &date].concat(), interrupt)?;
    let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let is_moved = answer.text.parse::<u64>().is_ok_and(|there| there + 5 * 60 < here);
    Ok((!is_moved).then(|| format!("{PACKAGE} of this machine does not work in {MYSQL_IMAGE}")))
}

fn is_there() -> bool {
    library().is_some()
}

fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    folders.map(|folder| folder.path().join(LIBRARY)).find(|library| library.is_file())
}
