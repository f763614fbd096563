//! What a process and a container have in common as servers.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::settings::Purpose;

/// The options of one server.
pub struct Spec<'a> {
    /// Its purpose, from which most options follow.
    pub purpose: Purpose,
    /// Further options such as `--max-connections=20`.
    pub options: &'a [&'a str],
    /// Its environment.
    pub env: &'a [(&'static str, String)],
    /// Files and folders that it may read: a container sees each under the same path.
    pub paths: &'a [&'a Path],
}

impl Spec<'_> {
    /// The options that follow from the purpose alone.
    #[must_use]
    pub fn of(purpose: Purpose) -> Self {
        Self { purpose, options: &[], env: &[], paths: &[] }
    }
}

/// Runs a server as a process or in a container. Dropping it kills the server, and leaves nothing behind but the data
/// of one in use. Each call returns when it is done.
pub trait Runner: Debug + Send {
    /// The best address at which the server can be reached, and its version; `None` until it takes connections.
    fn greeting(&mut self) -> Result<Option<(SocketAddr, String)>>;
    /// How the server ended, if it has ended.
    fn exit_report(&mut self) -> Result<Option<String>>;
    /// The server's process id, if it runs on this machine.
    fn pid(&self) -> Result<Option<u32>>;
    /// The server's log so far.
    fn log(&self) -> String;
    /// Where a person finds out more about a failed start, such as "its log: /path".
    fn evidence(&self) -> String;
    /// A command with which a person can look inside; contains no password.
    fn client(&self, version: &str) -> String;
    /// Shuts the server down in good order, so that it finishes what is under way.
    fn stop(&mut self) -> Result<()>;
    /// Kills the server by SIGKILL.
    fn kill(&mut self) -> Result<()>;
    /// Starts a server that has ended again, on its data and its address, without waiting until it answers.
    fn start_again(&mut self) -> Result<()>;
    /// Stops the server by SIGSTOP: it does nothing, though connections to it stay open.
    fn freeze(&mut self) -> Result<()>;
    /// Lets the frozen server go on where it was.
    fn thaw(&mut self) -> Result<()>;
}
