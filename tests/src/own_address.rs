//! Where servers of the tests are reached: not over loopback, where this machine has another address.
//!
//! A server with name resolution on, as is its default, counts interrupted handshakes of every client but 127.0.0.1, and
//! at last shuts its host out: over loopback no test would see that.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::Command;

/// A name server that does not answer would hold up each new client for ten seconds. Understood by glibc.
pub(crate) const IMPATIENT_RESOLVER: (&str, &str) = ("RES_OPTIONS", "timeout:1 attempts:1");

/// Gives a container a name for the address from which this machine reaches it, so that its server asks no name server.
pub(crate) const CLIENTS_NAME: &str = "clients-of-the-test";

/// Addresses to which this machine may know a way: one for documentation, by the default route, and the usual one of
/// Docker's bridge. Nothing is sent there.
const ELSEWHERE: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(172, 17, 0, 1)];

/// An address of this machine other than loopback, or loopback if there is none.
pub(crate) fn own_address() -> IpAddr {
    ELSEWHERE.into_iter().find_map(source_to).unwrap_or_else(|| Ipv4Addr::LOCALHOST.into())
}

/// The address of a container that runs `program` on this machine. Where the engine is elsewhere there is none: here the
/// address may belong to another machine.
pub(crate) fn address_of_container(name: &str, program: &str) -> Option<IpAddr> {
    let format = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let state = Command::new("docker").args(["inspect", "--format", format, name]).output().ok()?;
    let state = String::from_utf8(state.stdout).ok()?;
    let (pid, address) = state.trim().split_once(' ')?;
    let runs = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (runs.trim_end() == program).then(|| address.parse().ok())?
}

/// The address that the kernel would give as the sender's.
fn source_to(destination: Ipv4Addr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((destination, 9)).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_loopback() && !source.is_unspecified()).then_some(source)
}
