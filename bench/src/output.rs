use std::io::Write;

/// Prints one line; a closed terminal is not a reason to fail.
pub(crate) fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
