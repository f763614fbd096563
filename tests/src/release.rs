//! Which release of the programs a test starts.

use std::env;
use std::path::PathBuf;

/// Where `cargo xtask test` has put the programs of the release before.
const PREVIOUS: &str = "ORDERS_TEST_PREVIOUS_RELEASE";

/// A release of both programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// What this checkout builds.
    This,
    /// The release before, which may still run beside it.
    Previous,
}

impl Release {
    /// The path of one of its programs.
    pub(crate) fn binary(self, name: &str) -> PathBuf {
        let binary = self.folder().join(name);
        assert!(binary.is_file(), "{} is missing: run `cargo xtask test`", binary.display());
        binary
    }

    fn folder(self) -> PathBuf {
        match self {
            // Cargo puts programs one folder above the test programs.
            Self::This => {
                let test = env::current_exe().expect("a test knows where it lies");
                test.ancestors().nth(2).expect("cargo puts tests into a folder of their own").to_owned()
            }
            Self::Previous => {
                env::var_os(PREVIOUS).unwrap_or_else(|| panic!("no {PREVIOUS}: run `cargo xtask test`")).into()
            }
        }
    }
}
