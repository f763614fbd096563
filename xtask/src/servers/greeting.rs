//! The first packet of a MySQL server, which it sends once it takes connections.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server that is still starting greets late, and asking again is cheap.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The version in the greeting of the server at this address, as "MySQL 9.7.0" or "MariaDB 10.11.19"; `None` if there
/// is no greeting.
#[must_use]
pub fn server_version(address: SocketAddr) -> Option<String> {
    let mut server = TcpStream::connect_timeout(&address, ANSWER_LIMIT).ok()?;
    server.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    // Three bytes of length, a sequence number, then the payload.
    let mut header = [0_u8; 4];
    server.read_exact(&mut header).ok()?;
    let [low, middle, high, _] = header;
    let mut payload = vec![0_u8; u32::from_le_bytes([low, middle, high, 0]).try_into().ok()?];
    server.read_exact(&mut payload).ok()?;
    parse(&payload)
}

/// Reads the version out of a handshake packet of protocol 10.
fn parse(payload: &[u8]) -> Option<String> {
    let text = payload.strip_prefix(&[10])?.split(|byte| *byte == 0).next()?;
    let text = String::from_utf8_lossy(text);
    // MariaDB puts an old MySQL version in front, for old replicas.
    let version = text.strip_prefix("5.5.5-").unwrap_or(&text);
    let number = version.split('-').next()?;
    let server = if version.contains("MariaDB") { "MariaDB" } else { "MySQL" };
    Some(format!("{server} {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_a_greeting() {
        let greeting = b"\x0a5.5.5-10.11.19-MariaDB-0+deb12u1\0rest";

        assert_eq!(parse(greeting).as_deref(), Some("MariaDB 10.11.19"));
        assert_eq!(parse(b"\x0a9.7.0\0rest").as_deref(), Some("MySQL 9.7.0"));
        assert_eq!(parse(b"\xffToo many connections"), None);
    }
}
