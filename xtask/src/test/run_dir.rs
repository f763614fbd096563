//! The folder of one test run, under cargo's target directory.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use xtask::data_dir::DataDir;
use xtask::interrupt::Interrupt;
use xtask::servers::Engine;

use crate::checkout::Checkout;
use crate::leftovers;

/// The file with the name of the containers that the run's tests start.
const CONTAINER: &str = "container";

/// A fresh folder, removed with the run. Any number of runs may take place at once.
pub(crate) struct RunDir {
    data: DataDir,
    container: String,
}

impl RunDir {
    /// Makes the folder, and clears away what killed runs left behind.
    pub(crate) fn create(checkout: &Checkout, interrupt: &Interrupt) -> Result<Self> {
        let parent = checkout.target().join("xtask-test");
        let name = std::process::id().to_string();
        let locked = || -> Result<File> {
            fs::create_dir_all(&parent)?;
            let lock = File::create(parent.join("lock"))?;
            // Others hold it only briefly. Until it is locked, a new folder looks as if a killed run had left it
            // behind.
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

    /// A name for the run's containers and deployment, written down so that a later run can remove them.
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

/// Stops and removes what belongs to a run, unless the run is still alive.
fn clear_away(folder: &Path, interrupt: &Interrupt) -> Result<()> {
    let Some(data) = DataDir::claim(folder.to_owned())? else {
        return Ok(());
    };
    leftovers::stop(&data, interrupt)?;
    if let Ok(container) = fs::read_to_string(folder.join(CONTAINER))
        && let Ok(engine) = Engine::find(interrupt)
    {
        engine.remove_run(&container);
    }
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}
