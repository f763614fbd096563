//! A clock that a test moves: libfaketime, which a server is started with.

use std::fs;
use std::path::{Path, PathBuf};
use std::{env, process};

use uuid::Uuid;

/// Where Debian's package `libfaketime` puts it, in the folder of the machine's kind.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// What a server's clock is off by stands in a file, which the library reads once a second.
#[derive(Debug)]
pub(super) struct Clock {
    library: PathBuf,
    folder: PathBuf,
}

impl Clock {
    /// A clock that is right.
    pub(super) fn new() -> Self {
        let parent = env::var_os("ORDERS_XTASK_DATA").map_or_else(env::temp_dir, PathBuf::from);
        let folder = parent.join(format!("clock-{}-{}", process::id(), Uuid::now_v7().simple()));
        fs::create_dir(&folder).expect("a folder can be made");
        let clock = Self { library: library(), folder };
        clock.set(0);
        clock
    }

    /// From now on the clock is so many seconds ahead, or behind if negative.
    pub(super) fn set(&self, seconds: i64) {
        // Renamed into place: the library must not read half a number.
        let unfinished = self.folder.join("unfinished");
        fs::write(&unfinished, format!("{seconds:+}\n")).expect("the folder can be written to");
        fs::rename(unfinished, self.folder.join("offset")).expect("a file can be renamed");
    }

    /// What the server reads.
    pub(super) fn paths(&self) -> Vec<&Path> {
        vec![&self.library, &self.folder]
    }

    /// What the server needs in its environment.
    pub(super) fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.folder.join("offset").display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            // Durations are right on a machine whose clock is set.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn library() -> PathBuf {
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(fs::read_dir).into_iter().flatten().flatten();
    let mut found = folders.flatten().map(|folder| folder.path().join(LIBRARY)).filter(|path| path.is_file());
    found.next().unwrap_or_else(|| panic!("no {LIBRARY} in /usr/lib/*: install the package libfaketime"))
}
