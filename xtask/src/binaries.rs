//! Builds the programs, and finds what was built.

use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result, bail};
use xtask::interrupt::Interrupt;
use xtask::output::say;
use xtask::process::{Process, describe_exit};

use crate::checkout::Checkout;

/// The programs, as cargo built them.
pub(crate) struct Binaries {
    pub(crate) api: PathBuf,
    pub(crate) worker: PathBuf,
}

impl Binaries {
    /// Builds both programs as the tests build them, with cargo's own progress shown. Whoever runs the system and then the
    /// tests, or the other way round, builds once. (Packages picked by name would get fewer features of their
    /// dependencies, and most of those would be built twice.)
    pub(crate) fn build(checkout: &Checkout, interrupt: &Interrupt) -> Result<Self> {
        say("== building the programs");
        Self::among(&build(&["--workspace"], checkout, interrupt)?)
    }

    /// Builds both programs as the images have them, which takes some minutes longer.
    pub(crate) fn build_optimised(checkout: &Checkout, interrupt: &Interrupt) -> Result<Self> {
        say("== building orders-api and orders-worker (release)");
        let packages = ["--release", "--package", "orders-api", "--package", "orders-worker"];
        Self::among(&build(&packages, checkout, interrupt)?)
    }

    /// Builds the program that measures, apart from those that it measures: built together, they could share features.
    pub(crate) fn build_bench(checkout: &Checkout, interrupt: &Interrupt) -> Result<PathBuf> {
        say("== building orders-bench (release)");
        find(&build(&["--release", "--package", "orders-bench"], checkout, interrupt)?, "orders-bench")
    }

    fn among(messages: &str) -> Result<Self> {
        Ok(Self { api: find(messages, "orders-api")?, worker: find(messages, "orders-worker")? })
    }
}

/// Builds the service and the customers of the demo.
pub(crate) fn build_demo(release: bool, checkout: &Checkout, interrupt: &Interrupt) -> Result<[PathBuf; 2]> {
    let arguments = if release { ["--release", "--package", "orders-examples"].as_slice() } else { &["--workspace"] };
    let messages = build(arguments, checkout, interrupt)?;
    Ok([find(&messages, "fulfilment_service")?, find(&messages, "trickle")?])
}

/// Builds programs and returns cargo's messages about them.
fn build(arguments: &[&str], checkout: &Checkout, interrupt: &Interrupt) -> Result<String> {
    // Cargo's messages say where the programs are: a target directory or triple
    // may come from its configuration.
    let mut cargo = checkout.cargo();
    cargo
        .arg("build")
        .args(arguments)
        .args(["--bins", "--message-format", "json-render-diagnostics"])
        .stdout(Stdio::piped());
    let mut build = Process::start("cargo build", &mut cargo)?;
    let stdout = build.stdout();
    let reader = thread::spawn(move || {
        let mut messages = String::new();
        stdout.map(|mut stdout| stdout.read_to_string(&mut messages));
        messages
    });
    let status = build.wait(interrupt)?;
    let messages = reader.join().unwrap_or_default();
    if !status.success() {
        bail!("cargo build {}", describe_exit(status));
    }
    Ok(messages)
}

fn find(messages: &str, name: &str) -> Result<PathBuf> {
    executable(messages, name).with_context(|| format!("cargo built no program named {name}"))
}

/// The path of the program `name` among cargo's JSON messages, one a line.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| line.split_once(r#""executable":""#)?.1.split_once(r#"","#))
        .map(|(path, _)| PathBuf::from(path.replace(r#"\""#, "\"").replace(r"\\", r"\")))
        .find(|path| path.file_name().is_some_and(|file| file == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","executable":null,"fresh":true}
{"reason":"compiler-artifact","executable":"/a b/release/orders-api","fresh":true}
{"reason":"build-finished","success":true}"#;

        assert_eq!(executable(messages, "orders-api"), Some(PathBuf::from("/a b/release/orders-api")));
        assert_eq!(executable(messages, "orders-worker"), None);
    }
}
