//! Database servers: how one is found, started, and driven until it is dropped.

mod container;
mod engine;
mod greeting;
pub mod install;
mod private;
mod program;
mod runner;
mod server;
mod settings;
mod source;

pub use self::container::CLIENTS_NAME;
pub use self::engine::{Engine, MYSQL_IMAGE};
pub use self::greeting::server_version;
pub use self::program::Program;
pub use self::runner::{Runner, Spec};
pub use self::server::Server;
pub use self::settings::{Maker, Purpose};
pub use self::source::{Choice, Source};
