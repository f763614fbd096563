//! A clock that a test moves: libfaketime, which a server is started with.

use std::fs;
use std::path::{Path, PathBuf};

use xtask::faketime;

use crate::folder::Folder;

/// What a server's clock is off by stands in a file, which the library reads once a second.
#[derive(Debug)]
pub(super) struct Clock {
    library: PathBuf,
    folder: Folder,
}

impl Clock {
    /// A clock that is right.
    pub(super) fn new() -> Self {
        let library = faketime::library().expect("the package libfaketime is installed");
        let clock = Self { library, folder: Folder::new("clock") };
        clock.set(0);
        clock
    }

    /// From now on the clock is so many seconds ahead, or behind if negative.
    pub(super) fn set(&self, seconds: i64) {
        // Renamed into place: the library must not read half a number.
        let unfinished = self.folder.path().join("unfinished");
        fs::write(&unfinished, format!("{seconds:+}\n")).expect("the folder can be written to");
        fs::rename(unfinished, self.folder.path().join("offset")).expect("a file can be renamed");
    }

    /// What the server reads.
    pub(super) fn paths(&self) -> Vec<&Path> {
        vec![&self.library, self.folder.path()]
    }

    /// What the server needs in its environment.
    pub(super) fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.folder.path().join("offset").display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            // Durations are right on a machine whose clock is set.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}
