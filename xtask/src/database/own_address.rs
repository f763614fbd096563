//! How the tests reach their servers: not over loopback, where this machine has another address.
//!
//! A server with name resolution on, as is its default, counts interrupted handshakes of every client but 127.0.0.1, and
//! at last shuts its host out: over loopback no test would see that.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::Result;

use super::docker::Engine;
use crate::interrupt::Interrupt;

/// A name server that does not answer would hold up each new client for ten seconds. Understood by glibc.
pub(super) const IMPATIENT_RESOLVER: (&str, &str) = ("RES_OPTIONS", "timeout:1 attempts:1");

/// Where MySQL listens in its container.
pub(super) const CONTAINER_PORT: u16 = 3306;

/// Addresses to which this machine may know a way: one for documentation, by the default route, and the usual one of
/// Docker's bridge. Nothing is sent there.
const ELSEWHERE: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(172, 17, 0, 1)];

/// An address of this machine other than loopback, or loopback if there is none.
pub(super) fn own_address() -> IpAddr {
    ELSEWHERE.into_iter().find_map(source_to).unwrap_or_else(|| Ipv4Addr::LOCALHOST.into())
}

/// The address that the kernel would give as the sender's.
fn source_to(destination: Ipv4Addr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((destination, 9)).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_loopback() && !source.is_unspecified()).then_some(source)
}

/// The server's process in a container, if it is one of this machine: with an engine elsewhere the number may be another
/// program's here.
pub(super) fn pid_in(engine: &Engine, container: &str, interrupt: &Interrupt) -> Result<Option<u32>> {
    let answer = engine.ask(&["inspect", "--format", "{{.State.Pid}}", container], interrupt)?;
    let is_server =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "mysqld");
    Ok(answer.text.parse().ok().filter(is_server))
}

/// The container's own address, if its server is a process of this machine: otherwise the address may be somebody else's
/// here.
pub(super) fn address_of(engine: &Engine, container: &str, interrupt: &Interrupt) -> Result<Option<SocketAddr>> {
    if pid_in(engine, container, interrupt)?.is_none() {
        return Ok(None);
    }
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let answer = engine.ask(&["inspect", "--format", format, container], interrupt)?;
    Ok(answer.text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, CONTAINER_PORT)))
}
