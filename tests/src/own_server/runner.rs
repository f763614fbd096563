//! What a server of a test's own runs as: a process or a container.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::Path;

/// What runs the server. Dropping it leaves nothing behind. Each call returns when it is done.
pub(super) trait Runner: Debug + Send + Sync {
    /// At which addresses the server may be reached, the best one first. It is reached at the last one on any machine.
    fn addresses(&self) -> Vec<SocketAddr>;
    fn kill(&self);
    fn stop(&self);
    fn start_again(&self);
    fn freeze(&self);
    fn thaw(&self);
    fn assert_runs(&self);
}

/// What one server is started with beyond what all are.
#[derive(Debug, Default)]
pub(super) struct Extras<'a> {
    /// Options such as `--max-connections=20`.
    pub(super) args: &'a [&'a str],
    pub(super) env: Vec<(&'static str, String)>,
    /// What it may read: a container sees each by the same name.
    pub(super) paths: Vec<&'a Path>,
}
