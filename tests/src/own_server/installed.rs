//! The server program that is installed on this machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::program::text_of;

/// An installed server program.
pub(super) struct Installed {
    path: PathBuf,
    pub(super) is_mariadb: bool,
}

impl Installed {
    /// The server that `cargo xtask test` would choose too: MariaDB's where both are.
    pub(super) fn find() -> Option<Self> {
        if let Some(path) = installed("mariadbd") {
            return Some(Self { path, is_mariadb: true });
        }
        let path = installed("mysqld")?;
        // MariaDB's server of old went by MySQL's name.
        let version = Command::new(&path).arg("--version").output().ok()?;
        Some(Self { path, is_mariadb: text_of(&version).contains("MariaDB") })
    }

    /// A command that reads no configuration of the machine's.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--no-defaults").args(user_option());
        if !self.is_mariadb {
            // The built-in folder for imports exists only where the full package is installed.
            command.arg("--secure-file-priv=NULL");
        }
        command
    }

    /// Makes the empty data directory `data` in `folder`.
    pub(super) fn initialise(&self, folder: &Path) {
        let mut command = if self.is_mariadb {
            let script = installed("mariadb-install-db").expect("mariadb-install-db is installed beside mariadbd");
            let mut command = Command::new(script);
            // --force: a machine whose own name does not resolve is no obstacle.
            command.arg("--no-defaults").args(user_option()).args(["--skip-test-db", "--force"]);
            command
        } else {
            let mut command = self.command();
            command.arg("--initialize-insecure");
            command
        };
        // A relative path, because MariaDB's script splits one at its spaces.
        command.current_dir(folder).arg("--datadir=./data").stdin(Stdio::null());
        // A server that starts clears the temporary folder of what looks like its own tables, also of another's.
        command.env("TMPDIR", folder);
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(output.status.success(), "{command:?}: {}", text_of(&output));
    }
}

/// A server that root starts wants to hear that it is meant.
fn user_option() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=root")
}

/// Looks on the PATH and where packages put servers, which an ordinary user's PATH often lacks.
fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let packaged = ["/usr/sbin", "/usr/local/sbin", "/usr/libexec"].map(PathBuf::from);
    env::split_paths(&path).chain(packaged).map(|folder| folder.join(name)).find(|program| program.is_file())
}
