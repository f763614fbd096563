//! The database of a run: the user's own, or one started for the run.

use anyhow::Result;
use xtask::data_dir::DataDir;
use xtask::interrupt::Interrupt;
use xtask::servers::{Purpose, Server, Source, Spec};

/// A database that answers; dropping it stops the server if the run started it.
pub(crate) struct Database {
    url: String,
    pub(crate) server: Option<Server>,
}

impl Database {
    /// Starts a server for `purpose`, unless the user named one. If it is a container, its name is `container`.
    pub(crate) fn start(
        source: Source,
        purpose: Purpose,
        container: String,
        data: &DataDir,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let spec = Spec::of(purpose);
        let server = match source {
            Source::Url(url) => return Ok(Self { url, server: None }),
            Source::Docker(engine) => Server::in_container(engine, container, &spec, data, interrupt)?,
            Source::Private(program) => Server::installed(&program, &spec, data, interrupt)?,
        };
        Ok(Self { url: server.url(), server: Some(server) })
    }

    /// The URL with its password, for the programs only.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The server's process, where it was started on this machine.
    pub(crate) fn pid(&self) -> Result<Option<u32>> {
        self.server.as_ref().map_or(Ok(None), |server| server.pid())
    }

    /// Which server it is, and how to connect to it by hand; contains no password.
    pub(crate) fn describe(&self) -> String {
        self.server.as_ref().map_or_else(|| without_password(&self.url), Server::describe)
    }

    /// How the server ended, if it was ours and has ended.
    pub(crate) fn exit_report(&mut self) -> Result<Option<String>> {
        self.server.as_mut().map_or(Ok(None), |server| server.exit_report())
    }
}

/// The URL with stars for its password.
fn without_password(url: &str) -> String {
    let hidden = || {
        let (scheme, rest) = url.split_once("://")?;
        // The last @ ends the password: the user may have forgotten to encode others in it.
        let (credentials, address) = rest.rsplit_once('@')?;
        let (user, _) = credentials.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{address}"))
    };
    hidden().unwrap_or_else(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(without_password("mysql://a:b@c:1/d"), "mysql://a:***@c:1/d");
        assert_eq!(without_password("mysql://a:b@x@c:1/d"), "mysql://a:***@c:1/d");
        assert_eq!(without_password("mysql://a@c/d"), "mysql://a@c/d");
    }
}
