use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of log lines that wait for their reader at most: some five thousand lines. Fewer would lose lines at each burst, more
/// would take the memory that the process needs for its work.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// The log lines of a process on their way to its output, which may be slow, stalled or closed.
///
/// A thread of its own writes them, so that no line ever fails or holds up the task that has something to say. A line that
/// finds no room, or cannot be written, is dropped and counted.
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

    /// Waits until all lines are written, but for `limit` at most.
    pub(super) fn flush(&self, limit: Duration) {
        let is_behind = |waiting: &mut Waiting| waiting.is_writing || !waiting.lines.is_empty();
        let _ = self.0.changed.wait_timeout_while(self.waiting(), limit, is_behind);
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.lines.len() + line.len() > WAITING_BYTES_MAX {
            drop(waiting);
            self.0.dropped.inc();
            return;
        }
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        self.0.changed.notify_all();
    }

    fn write_to(&self, mut output: impl io::Write) {
        let mut told = 0;
        loop {
            let lines = self.next();
            let mut is_read = false;
            // One by one: what several processes write to one pipe does not mix within a line.
            for line in lines.split_inclusive(|&byte| byte == b'\n') {
                match output.write_all(line).and_then(|()| output.flush()) {
                    Ok(()) => is_read = true,
                    Err(_) => self.0.dropped.inc(),
                }
            }
            let dropped = self.0.dropped.get();
            if is_read && dropped > told {
                tracing::warn!(lines = dropped - told, "log lines were dropped: nobody read them in time");
                told = dropped;
            }
        }
    }

    /// Waits for lines, and takes all that wait.
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

/// Takes each event as a whole, and never fails.
impl io::Write for &LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read, Write};
    use std::time::Instant;

    use super::*;

    /// Longer than a thread takes to write a line on a loaded machine.
    const SOON: Duration = Duration::from_secs(20);

    fn lines() -> (LogLines, IntCounter, PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        let dropped = IntCounter::new("dropped", "Dropped.").unwrap();
        (LogLines::start(dropped.clone(), writer).unwrap(), dropped, reader)
    }

    #[test]
    fn what_was_flushed_has_been_written() {
        let (lines, dropped, mut reader) = lines();

        (&lines).write_all(b"one\n").unwrap();
        (&lines).write_all(b"two\n").unwrap();
        lines.flush(SOON);

        let mut read = [0; 8];
        reader.read_exact(&mut read).unwrap();
        assert_eq!((&read, dropped.get()), (b"one\ntwo\n", 0));
    }

    #[test]
    fn a_reader_that_is_gone_costs_lines_and_nothing_else() {
        let (lines, dropped, reader) = lines();
        drop(reader);

        for _ in 0..3 {
            (&lines).write_all(b"unread\n").unwrap();
        }
        lines.flush(SOON);

        assert_eq!(dropped.get(), 3);
    }

    #[test]
    fn a_reader_that_stalls_holds_up_nobody() {
        let (lines, dropped, _reader) = lines();
        let line = [b'x'; 1 << 10];

        let start = Instant::now();
        for _ in 0..10_000 {
            (&lines).write_all(&line).unwrap();
        }
        lines.flush(Duration::from_millis(10));

        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        assert!(lines.waiting().lines.len() <= WAITING_BYTES_MAX);
        assert!(dropped.get() > 10_000 - 2 * (WAITING_BYTES_MAX as u64 >> 10) - 100, "{}", dropped.get());
    }
}
