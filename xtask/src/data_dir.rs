//! The folder of a run, or of one of its tests, with what it keeps there.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::Process;

/// In a program's environment: the folder of the run that started it.
pub const OWNER_VARIABLE: &str = "ORDERS_XTASK_DATA";

/// The folder of a run, locked for as long as this lives, or the folder of a test within it.
pub struct DataDir {
    path: PathBuf,
    /// Set for a run. The lock belongs to the open file, so it ends with our process, however that ends.
    lock: Option<File>,
}

impl DataDir {
    /// Creates the folder if it is missing, and takes its lock; `None` if a run that is still alive holds it.
    pub fn claim(path: PathBuf) -> Result<Option<Self>> {
        let claim = || -> Result<Option<File>> {
            DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
            let lock = private_file().create(true).truncate(false).open(path.join("lock"))?;
            match lock.try_lock() {
                Ok(()) => Ok(Some(lock)),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error.into()),
            }
        };
        let lock = claim().with_context(|| format!("cannot use the folder {}", path.display()))?;
        Ok(lock.map(|lock| Self { path, lock: Some(lock) }))
    }

    /// The folder of a test. Programs that the test starts inherit the mark of its run from the environment, and end
    /// with the test's process group.
    #[must_use]
    pub fn of_test(path: PathBuf) -> Self {
        Self { path, lock: None }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Marks a command as the run's, so that a later run recognises the programs that a killed run left behind.
    pub fn mark<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if self.lock.is_some() {
            command.env(OWNER_VARIABLE, &self.path);
        }
        command
    }

    /// Starts a program for the run or the test.
    pub fn start(&self, name: &str, command: &mut Command) -> Result<Process> {
        if self.lock.is_some() {
            Process::start(name, self.mark(command))
        } else {
            Process::start_in_our_group(name, command)
        }
    }

    /// Writes a file that only this user can read.
    pub fn write_secret(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        private_file()
            .create(true)
            .truncate(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The password of the database's users: generated once, then kept beside the data.
    pub fn password(&self) -> Result<String> {
        let path = self.path.join("password");
        match fs::read_to_string(&path) {
            // A run that was killed while writing it left a shorter one.
            Ok(text) if text.trim().len() >= PASSWORD_BYTES * 2 => Ok(text.trim().to_owned()),
            _ => {
                let password = random_password()?;
                self.write_secret("password", &password)?;
                Ok(password)
            }
        }
    }

    /// Removes the folders whose names start with `prefix`.
    pub fn remove_all(&self, prefix: &str) -> Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if starts_with(&entry.file_name(), prefix) {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        Ok(())
    }
}

/// 128 bits cannot be guessed.
const PASSWORD_BYTES: usize = 16;

/// A fresh random password in hexadecimal: nothing to quote in SQL or a URL.
pub fn random_password() -> Result<String> {
    let mut bytes = [0_u8; PASSWORD_BYTES];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read random bytes")?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn starts_with(name: &OsStr, prefix: &str) -> bool {
    name.as_encoded_bytes().starts_with(prefix.as_bytes())
}
