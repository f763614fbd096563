//! Output for the user. Failed writes are ignored: a closed terminal or a broken pipe must not keep us from stopping
//! the programs that we started.

use std::fmt::Display;
use std::io::{IsTerminal, Read, Write};
use std::thread::{self, JoinHandle};

/// Prints one line about what we are doing.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints one line about a problem.
pub fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// The prefix of each line of a program's log: its name, padded, and coloured on a terminal.
#[derive(Clone, Copy)]
pub struct Label {
    name: &'static str,
    /// The number of an ANSI foreground colour, 31 to 36.
    colour: u8,
}

impl Label {
    /// The label of `orders-api`.
    pub const API: Self = Self { name: "api", colour: 36 };
    /// The label of `orders-worker`.
    pub const WORKER: Self = Self { name: "worker", colour: 33 };
    /// The label of the demo's service.
    pub const SERVICE: Self = Self { name: "service", colour: 35 };
    /// The label of those who place orders in the demo.
    pub const CUSTOMERS: Self = Self { name: "orders", colour: 34 };

    /// Copies every line of `log` to stdout behind this label, until its end.
    pub fn copy(self, log: impl Read + Send + 'static) -> JoinHandle<()> {
        let prefix = self.prefix();
        thread::spawn(move || {
            each_line(log, |line| {
                let text = [prefix.as_bytes(), line, b"\n"].concat();
                let _ = std::io::stdout().lock().write_all(&text);
            });
        })
    }

    fn prefix(self) -> String {
        let Self { name, colour } = self;
        if is_coloured() { format!("\u{1b}[{colour}m{name:<7} |\u{1b}[0m ") } else { format!("{name:<7} | ") }
    }
}

/// Whether stdout is a terminal whose user wants colours (<https://no-color.org>).
#[must_use]
pub fn is_coloured() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !unwanted
}

/// Calls `take` with each line of `source`, without its newline. Bytes that are not UTF-8 pass through.
fn each_line(source: impl Read, mut take: impl FnMut(&[u8])) {
    use std::io::BufRead;
    for line in std::io::BufReader::new(source).split(b'\n') {
        let Ok(line) = line else { return };
        take(line.strip_suffix(b"\r").unwrap_or(&line));
    }
}
