//! The log lines of a process on their way to its output, which may be slow, stalled or closed.
//!
//! A separate thread writes them, so that a line never fails or delays the task that logs it. A line that finds no room
//! or cannot be written is dropped and counted.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

/// The most bytes of log lines that wait for their reader, some five thousand lines. With fewer each burst would lose
/// lines; more would take memory that the process needs for its work.
const WAITING_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Debug)]
pub(super) struct LogLines(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    dropped: IntCounter,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    is_writing: bool,
}

impl LogLines {
    /// Lines that a thread writes to `output`, for as long as the process runs.
    pub(super) fn start(dropped: IntCounter, output: impl io::Write + Send + 'static) -> io::Result<Self> {
        let lines = Self(Arc::new(Inner { waiting: Mutex::default(), changed: Condvar::new(), dropped }));
        let written = lines.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || written.write_to(output))?;
        Ok(lines)
    }

    /// Waits until all lines are written, but no longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let is_behind = |waiting: &mut Waiting| waiting.is_writing || !waiting.lines.is_empty();
        let _ = self.0.changed.wait_timeout_while(self.waiting(), limit, is_behind);
    }

    fn write_to(&self, mut output: impl io::Write) {
        let mut reported = 0;
        loop {
            let lines = self.next();
            let mut is_read = false;
            // One write per line, so that the lines of several processes that share a pipe do not mix.
            for line in lines.split_inclusive(|&byte| byte == b'\n') {
                match output.write_all(line).and_then(|()| output.flush()) {
                    Ok(()) => is_read = true,
                    Err(_) => self.0.dropped.inc(),
                }
            }
            let dropped = self.0.dropped.get();
            if is_read && dropped > reported {
                tracing::warn!(lines = dropped - reported, "log lines were dropped because nobody read them in time");
                reported = dropped;
            }
        }
    }

    /// Waits for lines, and takes all there are.
    fn next(&self) -> Vec<u8> {
        let mut waiting = self.waiting();
        waiting.is_writing = false;
        self.0.changed.notify_all();
        while waiting.lines.is_empty() {
            waiting = self.0.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.is_writing = true;
        std::mem::take(&mut waiting.lines)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl io::Write for &LogLines {
    /// Takes or drops a whole line, and never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.waiting();
        if waiting.lines.len() + line.len() > WAITING_BYTES_MAX {
            self.0.dropped.inc();
        } else {
            waiting.lines.extend_from_slice(line);
            self.0.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_reader_that_stalls_holds_up_nobody_and_what_waits_is_bounded() {
        let (_reader, writer) = io::pipe().unwrap();
        let dropped = IntCounter::new("dropped", "Dropped.").unwrap();
        let lines = LogLines::start(dropped.clone(), writer).unwrap();

        for _ in 0..10_000 {
            (&lines).write_all(&[b'x'; 1 << 10]).unwrap();
        }

        assert!(lines.waiting().lines.len() <= WAITING_BYTES_MAX);
        assert!(dropped.get() > 10_000 - 2 * (WAITING_BYTES_MAX as u64 >> 10) - 100, "{}", dropped.get());
    }
}
