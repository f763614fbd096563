//! libfaketime, under which a program has a wrong clock.

use std::fs;
use std::path::PathBuf;

/// Debian's and Ubuntu's package.
pub const PACKAGE: &str = "libfaketime";

/// Where it puts the library, in the folder of the machine's kind.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The library to load into a program, if it is installed.
#[must_use]
pub fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(fs::read_dir).into_iter().flatten().flatten();
    folders.flatten().map(|folder| folder.path().join(LIBRARY)).find(|library| library.is_file())
}
