//! The Python tools of the checks, in a virtual environment of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xtask::ask::ask;
use xtask::interrupt::Interrupt;
use xtask::output::say;

use crate::checkout::Checkout;

/// About 60 packages over a slow connection.
const INSTALL_LIMIT: Duration = Duration::from_mins(10);

/// A package index that answers at all does so well within this.
const PROBE_LIMIT: Duration = Duration::from_mins(1);

/// The packages of an environment, and its place.
pub(super) struct Packages {
    /// The requirements file in `tests/contract`, which pins each package by hash.
    requirements: &'static str,
    /// The environment's folder in the target folder.
    folder: &'static str,
}

impl Packages {
    /// The tools that check, fuzz, and generate the Python client.
    pub(super) const CHECKS: Self = Self { requirements: "requirements.txt", folder: "contract/venv" };
    /// The generator of clients in other languages.
    pub(super) const GENERATOR: Self = Self { requirements: "clients.txt", folder: "contract/generator" };
}

/// A virtual environment with exactly the packages of a file.
pub(super) struct Python {
    folder: PathBuf,
}

impl Python {
    /// Makes the environment, unless an earlier run did. The inner error is the reason why it cannot, on a machine that
    /// reaches no package index.
    pub(super) fn prepare(
        packages: &Packages,
        checkout: &Checkout,
        interrupt: &Interrupt,
    ) -> Result<Result<Self, String>> {
        let python = Self { folder: checkout.target().join(packages.folder) };
        let name = packages.requirements;
        let requirements = checkout.root().join("tests/contract").join(name);
        let wanted = fs::read_to_string(&requirements).with_context(|| format!("cannot read tests/contract/{name}"))?;
        let installed = python.folder.join("installed.txt");
        if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
            return Ok(Ok(python));
        }
        say(format_args!("== installing the Python packages of tests/contract/{name}"));
        let made =
            ask(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&python.folder), INSTALL_LIMIT, interrupt)?;
        if !made.ok {
            bail!("python3 cannot make a virtual environment (Debian and Ubuntu: python3-venv): {}", made.text);
        }
        if let Some(failure) = python.install(&requirements, interrupt)? {
            if python.reaches_an_index(interrupt)? {
                bail!("pip cannot install the tools: {failure}");
            }
            return Ok(Err("pip reaches no package index".to_owned()));
        }
        fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))?;
        Ok(Ok(python))
    }

    /// A tool of the environment.
    pub(super) fn tool(&self, name: &str) -> Command {
        let mut tool = Command::new(self.folder.join("bin").join(name));
        // The tools call one another, and must find the ones of this environment.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([self.folder.join("bin")].into_iter().chain(std::env::split_paths(&path)));
        tool.env("PATH", path.unwrap_or_default()).env("PYTHONDONTWRITEBYTECODE", "1");
        tool
    }

    /// A file that comes with one of the packages.
    pub(super) fn package(&self, file: &str) -> Result<PathBuf> {
        let lib = self.folder.join("lib");
        let versions = fs::read_dir(&lib).with_context(|| format!("cannot read {}", lib.display()))?;
        let files = versions.flatten().map(|version| version.path().join("site-packages").join(file));
        files.into_iter().find(|path| path.is_file()).with_context(|| format!("the packages have no {file}"))
    }

    /// Installs the packages, and returns pip's error if it failed.
    fn install(&self, requirements: &Path, interrupt: &Interrupt) -> Result<Option<String>> {
        let mut pip = self.tool("pip");
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"]);
        let answer = ask(pip.arg("--requirement").arg(requirements), INSTALL_LIMIT, interrupt)?;
        Ok((!answer.ok).then_some(answer.text))
    }

    /// Whether pip can download a package that every index has.
    fn reaches_an_index(&self, interrupt: &Interrupt) -> Result<bool> {
        let mut pip = self.tool("pip");
        pip.args(["download", "--quiet", "--disable-pip-version-check", "--retries", "1", "--no-deps", "--dest"]);
        Ok(ask(pip.arg(self.folder.join("probe")).arg("pip"), PROBE_LIMIT, interrupt)?.ok)
    }
}
