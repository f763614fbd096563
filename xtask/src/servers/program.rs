//! The database server installed on this machine, and its empty data directory.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::settings::{Maker, Purpose};
use crate::ask::ask;
use crate::data_dir::DataDir;
use crate::interrupt::Interrupt;

/// Writing the system tables takes seconds, or a minute on a slow disk.
const INITIALISE_LIMIT: Duration = Duration::from_mins(5);

/// A server program.
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// Who makes it.
    pub maker: Maker,
}

impl Program {
    /// Finds an installed server; MariaDB's if both are installed.
    pub fn find(interrupt: &Interrupt) -> Result<Option<Self>> {
        if let Some(path) = installed("mariadbd") {
            return Ok(Some(Self { path, maker: Maker::MariaDb }));
        }
        let Some(path) = installed("mysqld") else {
            return Ok(None);
        };
        // MariaDB's server used to have MySQL's name.
        let version = ask(Command::new(&path).arg("--version"), Duration::from_secs(20), interrupt)?;
        let maker = if version.text.contains("MariaDB") { Maker::MariaDb } else { Maker::MySql };
        Ok(Some(Self { path, maker }))
    }

    /// The name of this maker's data directory: the two cannot share one.
    fn data_name(&self) -> &'static str {
        match self.maker {
            Maker::MariaDb => "mariadb",
            Maker::MySql => "mysql",
        }
    }

    /// A command of this server that ignores the machine's configuration files.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--no-defaults").args(user_option());
        if self.maker == Maker::MySql {
            // The default folder for imports exists only if the full package is installed.
            command.arg("--secure-file-priv=NULL");
        }
        command
    }

    /// Makes the data directory if it is missing. It is written under another name first, so that an interrupt leaves
    /// no incomplete one.
    pub(super) fn initialise(&self, purpose: Purpose, data: &DataDir, interrupt: &Interrupt) -> Result<PathBuf> {
        let name = self.data_name();
        let finished = data.path().join(name);
        let unfinished = format!("unfinished-{name}");
        data.remove_all("unfinished-")?;
        if finished.is_dir() {
            return Ok(finished);
        }
        purpose.say(format_args!("== initialising {}", finished.display()));
        fs::create_dir(data.path().join(&unfinished))?;
        let written = self.write_system_tables(data, &unfinished, interrupt);
        if written.is_err() {
            data.remove_all("unfinished-")?;
        }
        written?;
        fs::rename(data.path().join(unfinished), &finished)?;
        Ok(finished)
    }

    fn write_system_tables(&self, data: &DataDir, folder: &str, interrupt: &Interrupt) -> Result<()> {
        let mut command = match self.maker {
            Maker::MariaDb => mariadb_install_db(&self.path)?,
            Maker::MySql => {
                let mut command = self.command();
                command.arg("--initialize-insecure");
                command
            }
        };
        // A relative path, because MariaDB's script splits one at its spaces.
        command.current_dir(data.path()).arg(format!("--datadir=./{folder}"));
        // A server that starts removes the files of running servers from a shared temporary folder.
        command.env("TMPDIR", data.path());
        let answer = ask(data.mark(&mut command), INITIALISE_LIMIT, interrupt)?;
        if !answer.ok {
            bail!("{} cannot make a data directory: {}", self.path.display(), answer.last_line());
        }
        Ok(())
    }
}

/// MariaDB's set-up script. Root can log in only through the socket, and there is no test database.
fn mariadb_install_db(server: &Path) -> Result<Command> {
    let Some(script) = installed("mariadb-install-db") else {
        bail!("{} is there but mariadb-install-db is not: install it, or set DATABASE_URL", server.display());
    };
    let mut command = Command::new(script);
    // --force: works even if the machine's own name does not resolve.
    command.arg("--no-defaults").args(user_option()).args(["--skip-test-db", "--force"]);
    Ok(command)
}

/// A server that root starts must be told so: another user could not reach a checkout in root's home.
fn user_option() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=root")
}

/// Looks for a program on the PATH and in the folders where packages put servers, which are often not on it.
pub(super) fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let packaged = ["/usr/sbin", "/usr/local/sbin", "/usr/libexec"].map(PathBuf::from);
    env::split_paths(&path).chain(packaged).map(|folder| folder.join(name)).find(|program| program.is_file())
}
