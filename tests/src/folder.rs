//! Folders that go with their tests.

use std::path::{Path, PathBuf};
use std::{env, fs};

use uuid::Uuid;
use xtask::data_dir::OWNER_VARIABLE;

/// A folder of a test's own, empty at first. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a folder whose name begins with `name`, in that of the test run, which `cargo xtask test` removes even
    /// after a killed test.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let parent = env::var_os(OWNER_VARIABLE).map_or_else(env::temp_dir, PathBuf::from);
        let path = parent.join(format!("{name}-{}", Uuid::now_v7().simple()));
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
