//! A folder that one run at a time owns, with what it keeps there.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Names, in a program's environment, the folder of the run that started it.
pub(crate) const OWNER_VARIABLE: &str = "ORDERS_XTASK_DATA";

/// The folder of one run, locked for as long as this lives.
pub(crate) struct DataDir {
    path: PathBuf,
    /// The lock is the open file's: it ends with us, however we end.
    _lock: File,
}

impl DataDir {
    /// Creates the folder where it is missing and takes its lock; `None` if a
    /// living run has it.
    pub(crate) fn claim(path: PathBuf) -> Result<Option<Self>> {
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
        Ok(lock.map(|lock| Self { path, _lock: lock }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Marks a command as ours, so that a later run recognises what a killed
    /// one left behind.
    pub(crate) fn mark<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(OWNER_VARIABLE, &self.path)
    }

    /// Writes a file that only this user can read.
    pub(crate) fn write_secret(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        private_file()
            .create(true)
            .truncate(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The database user's password: made up once, then kept beside the data.
    pub(crate) fn password(&self) -> Result<String> {
        let path = self.path.join("password");
        match fs::read_to_string(&path) {
            // A run that was killed while it wrote leaves too short a one.
            Ok(text) if text.trim().len() >= PASSWORD_BYTES * 2 => Ok(text.trim().to_owned()),
            _ => {
                let password = random_password()?;
                self.write_secret("password", &password)?;
                Ok(password)
            }
        }
    }

    /// Removes a file or folder of a name that starts with `prefix`.
    pub(crate) fn remove_all(&self, prefix: &str) -> Result<()> {
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

/// 128 bits: not to be guessed.
const PASSWORD_BYTES: usize = 16;

/// A fresh random password in hexadecimal: nothing to quote in SQL or a URL.
pub(crate) fn random_password() -> Result<String> {
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
