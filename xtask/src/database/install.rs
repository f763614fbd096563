//! Installs a database server where the user may.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::program::{Program, installed};
use crate::ask::{Answer, ask};
use crate::interrupt::Interrupt;
use crate::output::say;

/// The server, and the client package whose tools its set-up script calls.
const PACKAGES: [&str; 2] = ["mariadb-server-core", "mariadb-client-core"];

/// Downloads of some 10 MB over a slow line, behind another's package lock.
const LIMIT: Duration = Duration::from_mins(10);

/// Installs MariaDB's server with the system's package manager.
///
/// # Errors
/// Where the user may not, or the system has no `apt-get`: says what to do instead.
pub(super) fn server(url_variable: &str, interrupt: &Interrupt) -> Result<Program> {
    if !is_allowed(interrupt)? {
        bail!(
            "no database: install a server ({} on Debian and Ubuntu), start Docker, \
             or set {url_variable}=mysql://user:password@host:port/database",
            PACKAGES.join(" and ")
        );
    }
    packages(&PACKAGES, interrupt)?;
    Program::find(interrupt)?.context("the packages are installed, but no server is found")
}

/// Whether a program is installed.
pub(crate) fn is_there(program: &str) -> bool {
    installed(program).is_some()
}

/// Whether packages can be installed without a question.
pub(crate) fn is_allowed(interrupt: &Interrupt) -> Result<bool> {
    Ok(installed("apt-get").is_some() && (rustix::process::geteuid().is_root() || has_sudo(interrupt)?))
}

/// Installs packages of the system.
///
/// # Errors
/// When `apt-get` cannot fetch or install them.
pub(crate) fn packages(packages: &[&str], interrupt: &Interrupt) -> Result<()> {
    say(format_args!("== installing {} with apt-get", packages.join(" and ")));
    update(interrupt)?;
    let fetched = apt_get(&["install", "--download-only"], packages, interrupt)?;
    if !fetched.ok {
        bail!("apt-get cannot fetch {}: {}", packages.join(" and "), fetched.last_line());
    }
    // From here on an interrupt waits: it would leave packages half installed.
    let finished = apt_get(&["install"], packages, &Interrupt::never())?;
    if !finished.ok {
        bail!("apt-get cannot install {}: {}", packages.join(" and "), finished.last_line());
    }
    interrupt.check()
}

/// Installs one package where what it has is missing and the user may; otherwise says why it stays missing.
pub(crate) fn provide(package: &str, is_there: impl Fn() -> bool, interrupt: &Interrupt) -> Result<Option<String>> {
    if is_there() {
        return Ok(None);
    }
    if !is_allowed(interrupt)? {
        return Ok(Some(format!("install {package}")));
    }
    if let Err(error) = packages(&[package], interrupt) {
        interrupt.check()?;
        return Ok(Some(format!("{error:#}")));
    }
    Ok((!is_there()).then(|| format!("{package} is installed, but not where it was looked for")))
}

/// Refreshes the lists of packages; a clean machine may have none.
fn update(interrupt: &Interrupt) -> Result<()> {
    let done = interrupt.wait_for(LIMIT, || {
        let answer = apt_get(&["update"], &[], interrupt)?;
        // Another run may be at it, and this lock apt-get does not wait for.
        Ok((answer.ok || !answer.text.contains("Could not get lock")).then_some(answer))
    })?;
    if let Some(answer) = done.filter(|answer| !answer.ok) {
        // Lists of before may still do.
        say(format_args!("== apt-get update failed: {}", answer.last_line()));
    }
    Ok(())
}

fn apt_get(verb: &[&str], packages: &[&str], interrupt: &Interrupt) -> Result<Answer> {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        sudo
    };
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "--yes", "--quiet"])
        .args(["--no-install-recommends", "--option", "DPkg::Lock::Timeout=300"])
        .args(verb)
        .args(packages);
    ask(&mut command, LIMIT, interrupt)
}

/// Whether the user may become root without being asked for a password.
fn has_sudo(interrupt: &Interrupt) -> Result<bool> {
    if installed("sudo").is_none() {
        return Ok(false);
    }
    Ok(ask(Command::new("sudo").args(["-n", "true"]), Duration::from_secs(10), interrupt)?.ok)
}
