//! Go and Java clients, generated from both documents that the API serves, compiled, and used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask::interrupt::Interrupt;
use xtask::servers::install::{is_there, provide};

use super::python::{Packages, Python};
use super::system::System;
use crate::checkout::Checkout;

const DOCUMENTS: [&str; 2] = ["openapi.json", "openapi-3.0.json"];

/// Debian's and Ubuntu's package. The generator's own archive has everything else that a Java client needs to compile.
const ANNOTATIONS: (&str, &str) =
    ("libgeronimo-annotation-1.3-spec-java", "/usr/share/java/geronimo-annotation-1.3-spec.jar");

/// Generates, compiles and runs the clients.
pub(super) struct Clients {
    python: Python,
    generator: PathBuf,
    /// The folder with the programs that use the clients.
    programs: PathBuf,
    /// The folder for the clients.
    target: PathBuf,
}

impl Clients {
    /// Installs what is missing. The inner error is the reason why the clients cannot be checked.
    pub(super) fn prepare(checkout: &Checkout, interrupt: &Interrupt) -> Result<Result<Self, String>> {
        let (annotations, archive) = ANNOTATIONS;
        let missing = [
            provide("golang-go", || is_there("go"), interrupt)?,
            provide("default-jdk-headless", || is_there("javac"), interrupt)?,
            provide(annotations, || Path::new(archive).is_file(), interrupt)?,
        ];
        if let Some(obstacle) = missing.into_iter().flatten().next() {
            return Ok(Err(obstacle));
        }
        let python = match Python::prepare(&Packages::GENERATOR, checkout, interrupt)? {
            Ok(python) => python,
            Err(obstacle) => return Ok(Err(obstacle)),
        };
        let generator = python.package("openapi_generator_cli/openapi-generator.jar")?;
        let programs = checkout.root().join("tests/contract");
        Ok(Ok(Self { python, generator, programs, target: checkout.target().join("contract/clients") }))
    }

    /// Places orders in `system` with a client in each language, generated from each document.
    pub(super) fn check(&self, system: &mut System<'_>) -> Result<()> {
        for document in DOCUMENTS {
            let folder = self.target.join(document);
            fs::remove_dir_all(&folder).or_else(|error| if folder.exists() { Err(error) } else { Ok(()) })?;
            let url = format!("{}/{document}", system.url);
            self.go(&folder.join("go"), &url, system)?;
            self.java(&folder.join("java"), &url, system)?;
        }
        Ok(())
    }

    /// The client is a package of the program's module.
    fn go(&self, folder: &Path, document: &str, system: &mut System<'_>) -> Result<()> {
        let program = "place_an_order.go";
        fs::create_dir_all(folder)?;
        fs::copy(self.programs.join(program), folder.join(program))?;
        system.check(&mut self.generate("go.yaml", document, &folder.join("orders")))?;
        system.check(self.go_command(folder).args(["mod", "init", "contract"]))?;
        system.check(self.go_command(folder).args(["vet", "./..."]))?;
        system.check(self.go_command(folder).args(["run", program, &system.url]))
    }

    /// A `go` command that downloads nothing.
    fn go_command(&self, folder: &Path) -> Command {
        let mut go = Command::new("go");
        go.current_dir(folder).env("GOCACHE", self.target.join("go-cache"));
        go.envs([("GOFLAGS", "-mod=mod"), ("GOPROXY", "off"), ("GOTOOLCHAIN", "local"), ("GO111MODULE", "on")]);
        go
    }

    fn java(&self, folder: &Path, document: &str, system: &mut System<'_>) -> Result<()> {
        let classes = folder.join("classes");
        let libraries = [self.generator.as_path(), Path::new(ANNOTATIONS.1), &classes];
        let class_path = std::env::join_paths(libraries).context("a path contains a colon")?;
        let sources = folder.join("orders");
        system.check(&mut self.generate("java.yaml", document, &sources))?;
        let list = list_of_files(&sources.join("src/main/java"), folder)?;
        let mut compile = Command::new("javac");
        compile.args(["-nowarn", "-d"]).arg(&classes).arg("-cp").arg(&class_path);
        system.check(compile.arg(self.programs.join("PlaceAnOrder.java")).arg(list))?;
        let mut place = Command::new("java");
        system.check(place.arg("-cp").arg(&class_path).args(["PlaceAnOrder", &system.url]))
    }

    fn generate(&self, configuration: &str, document: &str, folder: &Path) -> Command {
        let mut generate = self.python.tool("openapi-generator-cli");
        generate.arg("generate").arg("-c").arg(self.programs.join(configuration));
        generate.args(["-i", document]).arg("-o").arg(folder);
        // By default it reports every file that it writes.
        generate.env("JAVA_OPTS", "-Dlog.level=error");
        generate
    }
}

/// An `@` argument for every file below `sources`, which are listed in a file in `folder`.
fn list_of_files(sources: &Path, folder: &Path) -> Result<String> {
    let list = folder.join("files");
    let files: Vec<String> = files(sources)?.iter().map(|file| format!("\"{}\"", file.display())).collect();
    fs::write(&list, files.join("\n"))?;
    Ok(format!("@{}", list.display()))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}
