//! An address that one of our programs listens on.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xtask::addresses::{free_port, loopback};

/// A program on this machine answers a probe at once or not at all.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Where a program listens, and the variable that says so.
pub(crate) struct Address {
    pub(crate) variable: &'static str,
    /// As the user wrote it; the program reads it by its own rules.
    pub(crate) text: String,
    socket: SocketAddr,
}

impl Address {
    /// Reads the address from the environment. The default is on loopback: only
    /// this machine should reach a development system.
    pub(crate) fn of(variable: &'static str, default: &str) -> Result<Self> {
        let text = env::var(variable).ok().filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned());
        let socket = text
            .to_socket_addrs()
            .ok()
            .and_then(|mut sockets| sockets.next())
            .filter(|socket| socket.port() != 0)
            .with_context(|| format!("{variable}={text} is not an address: give one such as {default}"))?;
        Ok(Self { variable, text, socket })
    }

    /// A loopback port that nothing listens on at the moment.
    pub(crate) fn free(variable: &'static str) -> Result<Self> {
        let socket = loopback(free_port()?);
        Ok(Self { variable, text: socket.to_string(), socket })
    }

    /// Fails if our program could not listen there.
    pub(crate) fn check_free(&self) -> Result<()> {
        let Self { variable, text, socket } = self;
        match TcpListener::bind(socket) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                bail!(
                    "port {} is taken: stop what listens there, or choose another address with {variable}",
                    socket.port()
                )
            }
            Err(error) => bail!("cannot listen on {variable}={text}: {error}"),
        }
    }

    /// The address as a person on this machine would type it.
    pub(crate) fn for_people(&self) -> String {
        let ip = self.socket.ip();
        if ip.is_loopback() || ip.is_unspecified() {
            return format!("localhost:{}", self.socket.port());
        }
        self.socket.to_string()
    }

    /// The status of a GET of `path`, such as "200 OK"; `None` if nothing answers.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.reachable(), PROBE_LIMIT).ok()?;
        stream.set_read_timeout(Some(PROBE_LIMIT)).ok()?;
        stream.set_write_timeout(Some(PROBE_LIMIT)).ok()?;
        let host = self.for_people();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
        let mut start = String::new();
        // The status line is much shorter, and the rest does not matter.
        stream.take(1024).read_to_string(&mut start).ok()?;
        start.lines().next()?.strip_prefix("HTTP/1.1 ").map(str::to_owned)
    }

    /// An address to connect to: loopback if the program listens on all addresses.
    pub(crate) fn reachable(&self) -> SocketAddr {
        let ip = match self.socket.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.socket.port())
    }
}
