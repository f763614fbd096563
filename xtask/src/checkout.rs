//! The checkout that xtask belongs to.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Prefixes of the variables in which cargo describes a program's own package to it.
const OWN: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// Names the revision to the programs that are built. Only their `main.rs` reads it, so that little is built anew for it.
const REVISION: &str = "ORDERS_REVISION";

/// Where the workspace is, and names derived from it.
pub(crate) struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// Finds the workspace that this xtask was built from.
    pub(crate) fn locate() -> Result<Self> {
        // Cargo sets the variable when it runs us; the built-in path serves
        // a user who starts the binary by hand.
        let package =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().context("xtask's folder has no parent")?;
        let root = root.canonicalize().with_context(|| format!("the checkout {} is gone", root.display()))?;
        Ok(Self { root })
    }

    /// The folder of the workspace's Cargo.toml.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory.
    pub(crate) fn target(&self) -> PathBuf {
        // Relative to the root, as for the cargo commands that we run there.
        self.root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
    }

    /// A short name that no other checkout on this machine has.
    pub(crate) fn id(&self) -> String {
        // FNV-1a: the name must stay the same for ever, since a Docker volume
        // goes by it, and the standard library's hashers do not promise that.
        let hash = self
            .root
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
    }

    /// The revision of the checkout; `None` where git cannot tell.
    fn revision(&self) -> Option<String> {
        let mut git = Command::new("git");
        let described = git.arg("-C").arg(&self.root).args(["describe", "--always", "--dirty", "--exclude=*"]).output();
        let revision = described.ok().filter(|described| described.status.success())?.stdout;
        String::from_utf8(revision).ok().map(|revision| revision.trim().to_owned())
    }

    /// A cargo command that runs in this checkout.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        // `cargo run` describes xtask in them. A build script that reads them, as ring's does, would run anew, and all that
        // depends on it be built anew, whenever a person's cargo command and one of ours alternate.
        let names = env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| OWN.iter().any(|own| name.as_encoded_bytes().starts_with(own.as_bytes()))) {
            cargo.env_remove(name);
        }
        if env::var_os(REVISION).is_none() {
            cargo.envs(self.revision().map(|revision| (REVISION, revision)));
        }
        cargo
    }
}
