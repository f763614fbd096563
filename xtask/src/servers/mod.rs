//! Database servers: how one is found, started, and driven until it is dropped.

mod container;
mod engine;
mod greeting;
pub mod install;
mod private;
mod program;
mod server;
mod settings;
mod source;

pub use self::container::CLIENTS_NAME;
pub use self::engine::{Engine, MYSQL_IMAGE};
pub use self::greeting::server_version;
pub use self::program::{Maker, Program};
pub use self::server::{Runner, Server, Spec};
pub use self::settings::Purpose;
pub use self::source::{Choice, Source};
