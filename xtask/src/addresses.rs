//! Addresses of this machine on which programs can listen.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};

/// Below the kernel's range for outgoing connections, so that none of those takes a port between its choice and its
/// use.
const PORTS: Range<u16> = 10_000..30_000;

/// Addresses that this machine may have a route to: one reserved for documentation, by the default route, and the usual
/// address of Docker's bridge. Nothing is sent there.
const ELSEWHERE: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(172, 17, 0, 1)];

/// A port that other machines cannot reach.
#[must_use]
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// An address of this machine other than loopback, or loopback if there is none.
#[must_use]
pub fn own_address() -> IpAddr {
    ELSEWHERE.into_iter().find_map(source_to).unwrap_or_else(|| Ipv4Addr::LOCALHOST.into())
}

/// The address that the kernel would send from.
fn source_to(destination: Ipv4Addr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((destination, 9)).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_loopback() && !source.is_unspecified()).then_some(source)
}

/// A port that is free on every address and that nothing else is likely to take.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run at the same time start their search at different ports.
    let first = std::process::id() % 200 * 100;
    PORTS
        .map(|_| {
            let offset = (first + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u32::from(PORTS.end - PORTS.start);
            PORTS.start + u16::try_from(offset).unwrap_or_default()
        })
        .find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
        .with_context(|| format!("no port of {PORTS:?} is free"))
}
