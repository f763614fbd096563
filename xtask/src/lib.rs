//! What the commands of `cargo xtask` and the tests share: database servers, processes, and waits that end at Ctrl-C.

pub mod addresses;
pub mod ask;
pub mod data_dir;
pub mod faketime;
pub mod interrupt;
pub mod output;
pub mod process;
pub mod servers;
