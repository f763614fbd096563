//! The folder of one test run, under cargo's target directory.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::data_dir::DataDir;
use crate::database::Engine;
use crate::interrupt::Interrupt;
use crate::leftovers;

/// The file that says which container the run's tests start.
const CONTAINER: &str = "container";

/// A fresh folder, removed with the run. Any number of runs may go on at once.
pub(crate) struct RunDir {
    data: DataDir,
    container: String,
}

impl RunDir {
    /// Makes the folder, and clears away what killed runs left.
    pub(crate) fn create(checkout: &Checkout, interrupt: &Interrupt) -> Result<Self> {
        let parent = checkout.target().join("xtask-test");
        let name = std::process::id().to_string();
        let locked = || -> Result<File> {
            fs::create_dir_all(&parent)?;
            let lock = File::create(parent.join("lock"))?;
            // Held by others for moments only. Between making a folder and
            // locking it, a folder looks as if a killed run had left it.
            lock.lock()?;
            Ok(lock)
        };
        let _lock = locked().with_context(|| format!("cannot use the folder {}", parent.display()))?;
        for entry in fs::read_dir(&parent)?.filter_map(Result::ok) {
            if entry.path().is_dir() {
                clear_away(&entry.path(), interrupt)?;
            }
        }
        let data = DataDir::claim(parent.join(&name))?.context("the folder of this test run is in use")?;
        Ok(Self { data, container: format!("orders-test-{}-{name}", checkout.id()) })
    }

    pub(crate) fn data(&self) -> &DataDir {
        &self.data
    }

    /// See [`DataDir::mark`].
    pub(crate) fn mark<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        self.data.mark(command)
    }

    /// A name for the tests' container and deployment, noted so that a later run can
    /// remove them.
    pub(crate) fn name_container(&self) -> Result<String> {
        self.data.write_secret(CONTAINER, &self.container)?;
        Ok(self.container.clone())
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.data.path());
    }
}

/// Stops and removes what belongs to a run, unless the run lives.
fn clear_away(folder: &Path, interrupt: &Interrupt) -> Result<()> {
    let Some(data) = DataDir::claim(folder.to_owned())? else {
        return Ok(());
    };
    leftovers::stop(&data, interrupt)?;
    if let Ok(container) = fs::read_to_string(folder.join(CONTAINER))
        && let Ok(engine) = Engine::find(interrupt)
    {
        engine.remove_container(&container);
        engine.remove_own_servers(&container);
        engine.remove_deployment(&container);
    }
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}
