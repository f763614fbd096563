//! The database server installed on this machine, and its empty data directory.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::ask::ask;
use crate::data_dir::DataDir;
use crate::interrupt::Interrupt;
use crate::output::say;

/// Writing the system tables takes seconds, on a slow disk a minute.
const INITIALISE_LIMIT: Duration = Duration::from_mins(5);

/// Whose server it is: their options differ a little.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    MariaDb,
    MySql,
}

/// A server program.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) maker: Maker,
}

impl Program {
    /// Finds an installed server; MariaDB's where both are.
    pub(crate) fn find(interrupt: &Interrupt) -> Result<Option<Self>> {
        if let Some(path) = installed("mariadbd") {
            return Ok(Some(Self { path, maker: Maker::MariaDb }));
        }
        let Some(path) = installed("mysqld") else {
            return Ok(None);
        };
        // MariaDB's server of old went by MySQL's name.
        let version = ask(Command::new(&path).arg("--version"), Duration::from_secs(20), interrupt)?;
        let maker = if version.text.contains("MariaDB") { Maker::MariaDb } else { Maker::MySql };
        Ok(Some(Self { path, maker }))
    }

    /// The name of this maker's data directory: the two cannot share one.
    pub(crate) fn data_name(&self) -> &'static str {
        match self.maker {
            Maker::MariaDb => "mariadb",
            Maker::MySql => "mysql",
        }
    }

    /// A command of this server that reads no configuration of the machine's.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--no-defaults").args(user_option());
        if self.maker == Maker::MySql {
            // The built-in folder for imports exists only where the full package is installed.
            command.arg("--secure-file-priv=NULL");
        }
        command
    }

    /// Makes the data directory where there is none yet, whole or not at all:
    /// it is written under another name first.
    pub(crate) fn initialise(&self, data: &DataDir, interrupt: &Interrupt) -> Result<PathBuf> {
        let name = self.data_name();
        let finished = data.path().join(name);
        let unfinished = format!("unfinished-{name}");
        data.remove_all("unfinished-")?;
        if finished.is_dir() {
            return Ok(finished);
        }
        say(format_args!("== initialising {}", finished.display()));
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
        let answer = ask(data.mark(&mut command), INITIALISE_LIMIT, interrupt)?;
        if !answer.ok {
            bail!("{} cannot make a data directory: {}", self.path.display(), answer.last_line());
        }
        Ok(())
    }
}

/// MariaDB's set-up script; root can log in by the socket only, and there is
/// no test database.
fn mariadb_install_db(server: &Path) -> Result<Command> {
    let Some(script) = installed("mariadb-install-db") else {
        bail!("{} is there but mariadb-install-db is not: install it, or set DATABASE_URL", server.display());
    };
    let mut command = Command::new(script);
    // --force: a machine whose own name does not resolve is no obstacle.
    command.arg("--no-defaults").args(user_option()).args(["--skip-test-db", "--force"]);
    Ok(command)
}

/// A server that root starts wants to hear that it is meant: another user
/// could not reach a checkout in root's home.
fn user_option() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=root")
}

/// Looks for a program on the PATH and where packages put servers, which an
/// ordinary user's PATH often lacks.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let packaged = ["/usr/sbin", "/usr/local/sbin", "/usr/libexec"].map(PathBuf::from);
    env::split_paths(&path).chain(packaged).map(|folder| folder.join(name)).find(|program| program.is_file())
}
