//! Settings that come from files, which may change while the worker runs.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How old a value may be before its file is read again. Shorter costs reads, longer keeps a secret in use that was
/// replaced.
const REREAD_AFTER: Duration = Duration::from_secs(30);

/// The largest file that is read. A longer one is no secret and no list of headers.
const BYTES_MAX: u64 = 64 << 10;

/// What a setting says, in itself or in a file. The value is a secret: no log ever shows it.
pub(crate) enum Watched<T> {
    Fixed(Arc<T>),
    File(Arc<WatchedFile<T>>),
}

/// A file that is read again, in the background, when its value is used and old.
pub(crate) struct WatchedFile<T> {
    path: PathBuf,
    parse: fn(&str) -> Result<T, String>,
    last: Mutex<Last<T>>,
}

/// What the last readings of a file brought.
struct Last<T> {
    /// The last text that was good, and its value.
    text: String,
    value: Arc<T>,
    read_at: Instant,
    /// Whether the file is being read. It stays so while a mount hangs, and no second reader joins the first.
    is_being_read: bool,
    /// What was wrong at the last reading.
    problem: Option<String>,
}

impl<T: Send + Sync + 'static> Watched<T> {
    pub(crate) fn fixed(value: T) -> Self {
        Self::Fixed(Arc::new(value))
    }

    /// What the file says now. Fails if it cannot be read, or says nothing that makes sense.
    pub(crate) fn file(path: &Path, parse: fn(&str) -> Result<T, String>) -> Result<Self, String> {
        let text = read(path)?;
        let value = Arc::new(parse(&text)?);
        let last = Mutex::new(Last { text, value, read_at: Instant::now(), is_being_read: false, problem: None });
        Ok(Self::File(Arc::new(WatchedFile { path: path.to_owned(), parse, last })))
    }

    /// The last value. If it is older than [`REREAD_AFTER`], its file is read again for those who ask later: a disk, or
    /// a network behind it, may hang, and no order waits for it. Must be called in a Tokio runtime.
    pub(crate) fn get(&self) -> Arc<T> {
        match self {
            Self::Fixed(value) => Arc::clone(value),
            Self::File(file) => {
                if file.is_due(Instant::now()) {
                    let file = Arc::clone(file);
                    tokio::task::spawn_blocking(move || file.read_again());
                }
                Arc::clone(&file.last().value)
            }
        }
    }
}

impl<T: Send + Sync + 'static> WatchedFile<T> {
    /// Whether the caller has to have the file read again.
    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.last();
        let is_due = !last.is_being_read && now.saturating_duration_since(last.read_at) >= REREAD_AFTER;
        if is_due {
            last.read_at = now;
            last.is_being_read = true;
        }
        is_due
    }

    /// Reads the file, and keeps the last good value if it is unreadable or wrong.
    fn read_again(&self) {
        let text = read(&self.path);
        let mut last = self.last();
        last.is_being_read = false;
        let file = self.path.display();
        if text.as_ref() == Ok(&last.text) {
            last.problem = None;
            return;
        }
        match text.and_then(|text| Ok((Arc::new((self.parse)(&text)?), text))) {
            Ok((value, text)) => {
                tracing::info!(%file, "the file has changed, and what it says now is in use");
                *last = Last { text, value, read_at: last.read_at, is_being_read: false, problem: None };
            }
            Err(problem) => {
                if last.problem.as_ref() != Some(&problem) {
                    tracing::warn!(%file, problem, "the file cannot be used; what it said before stays in use");
                }
                last.problem = Some(problem);
            }
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last<T>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > BYTES_MAX => Err(format!("it has more than {BYTES_MAX} bytes")),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("it cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with a number in it.
    struct Number {
        path: PathBuf,
        file: Arc<WatchedFile<u32>>,
    }

    impl Number {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("orders-{name}-{}", std::process::id()));
            std::fs::write(&path, "1").unwrap();
            let Ok(Watched::File(file)) = Watched::file(&path, |text| text.parse().map_err(|_| "no number".to_owned()))
            else {
                panic!("not watched");
            };
            Self { path, file }
        }

        /// What is in use after this time, once the file was read if it was due.
        fn after(&self, secs: u64) -> u32 {
            if self.file.is_due(Instant::now() + Duration::from_secs(secs)) {
                self.file.read_again();
            }
            *self.file.last().value
        }
    }

    impl Drop for Number {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    #[test]
    fn a_file_is_read_again_when_its_value_is_half_a_minute_old() {
        let number = Number::new("reread");
        std::fs::write(&number.path, "2").unwrap();

        assert_eq!(number.after(29), 1);
        assert_eq!(number.after(31), 2);
    }

    #[test]
    fn a_file_that_cannot_be_used_leaves_the_last_good_value() {
        let number = Number::new("kept");

        std::fs::write(&number.path, "two").unwrap();
        assert_eq!(number.after(31), 1);
        std::fs::remove_file(&number.path).unwrap();
        assert_eq!(number.after(62), 1);
        std::fs::write(&number.path, "3").unwrap();
        assert_eq!(number.after(93), 3);
    }

    #[tokio::test]
    async fn nobody_waits_for_the_file() {
        let number = Number::new("background");
        std::fs::write(&number.path, "2").unwrap();
        let watched = Watched::File(Arc::clone(&number.file));
        number.file.last().read_at -= REREAD_AFTER;

        while *watched.get() == 1 {
            tokio::task::yield_now().await;
        }

        assert_eq!(*watched.get(), 2);
    }

    #[test]
    fn a_file_that_is_being_read_is_not_read_a_second_time() {
        let number = Number::new("once");
        let now = Instant::now();
        assert!(number.file.is_due(now + Duration::from_secs(31)));

        assert!(!number.file.is_due(now + Duration::from_hours(1)));
        number.file.read_again();
        assert!(number.file.is_due(now + Duration::from_hours(1)));
    }

    #[test]
    fn a_file_that_cannot_be_used_at_the_start_is_an_error() {
        let absent = Watched::<u32>::file(Path::new("/nonexistent/file"), |_| Ok(1));

        assert!(absent.is_err_and(|problem| problem.starts_with("it cannot be read: ")));
    }
}
