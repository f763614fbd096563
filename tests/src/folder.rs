//! Folders that go with their tests.

use std::path::{Path, PathBuf};
use std::{env, fs};

use uuid::Uuid;

/// A folder of a test's own, empty at first. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a folder whose name begins with `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let path = fresh_path(name);
        fs::create_dir(&path).expect("a folder can be made");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An unused path in the folder of the test run, which `cargo xtask test` removes even after a killed test.
pub(crate) fn fresh_path(name: &str) -> PathBuf {
    let parent = env::var_os("ORDERS_XTASK_DATA").map_or_else(env::temp_dir, PathBuf::from);
    parent.join(format!("{name}-{}", Uuid::now_v7().simple()))
}
