//! Installs packages of the system where the user may.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::program::{Program, installed};
use crate::ask::{Answer, ask};
use crate::interrupt::Interrupt;
use crate::output::say;

/// The server, and the client package with the tools that its set-up script calls.
const PACKAGES: [&str; 2] = ["mariadb-server-core", "mariadb-client-core"];

/// Downloads about 10 MB over a slow connection, and may first wait for another process's package lock.
const LIMIT: Duration = Duration::from_mins(10);

/// Installs MariaDB's server with the system's package manager.
///
/// # Errors
/// If the user may not install it or the system has no `apt-get`. The message says what to do instead.
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
#[must_use]
pub fn is_there(program: &str) -> bool {
    installed(program).is_some()
}

/// Whether packages can be installed without asking the user for anything.
pub fn is_allowed(interrupt: &Interrupt) -> Result<bool> {
    Ok(installed("apt-get").is_some() && (rustix::process::geteuid().is_root() || has_sudo(interrupt)?))
}

/// Installs packages of the system.
///
/// # Errors
/// If `apt-get` cannot download or install them.
pub fn packages(packages: &[&str], interrupt: &Interrupt) -> Result<()> {
    say(format_args!("== installing {} with apt-get", packages.join(" and ")));
    update(interrupt)?;
    let fetched = apt_get(&["install", "--download-only"], packages, interrupt)?;
    if !fetched.ok {
        bail!("apt-get cannot fetch {}: {}", packages.join(" and "), fetched.last_line());
    }
    // An interrupt now would leave packages half installed, so it has to wait.
    let finished = apt_get(&["install"], packages, &Interrupt::never())?;
    if !finished.ok {
        bail!("apt-get cannot install {}: {}", packages.join(" and "), finished.last_line());
    }
    interrupt.check()
}

/// As [`provide`], for a program whose package has its name.
pub fn provide_program(program: &str, interrupt: &Interrupt) -> Result<Option<String>> {
    provide(program, || is_there(program), interrupt)
}

/// Installs a package if `is_there` finds nothing of it and the user may; returns the reason if it is still missing.
pub fn provide(package: &str, is_there: impl Fn() -> bool, interrupt: &Interrupt) -> Result<Option<String>> {
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
        // Another process may be updating, and apt-get does not wait for this lock.
        Ok((answer.ok || !answer.text.contains("Could not get lock")).then_some(answer))
    })?;
    if let Some(answer) = done.filter(|answer| !answer.ok) {
        // The old lists may still do.
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
