use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Less than the time that container engines give a health check.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Why a process is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// The process does not answer at this address, or not in time.
    #[error("{0} does not answer")]
    NoAnswer(SocketAddr, #[source] io::Error),
    /// The process says that it is not ready, for this reason.
    #[error("not ready: {0}")]
    NotReady(String),
}

/// Asks the process that listens on `listen`, on this machine, whether it is ready: `GET /readyz`.
pub async fn healthcheck(listen: SocketAddr) -> Result<(), Unhealthy> {
    let address = on_this_machine(listen);
    let answer = timeout(ANSWERED_WITHIN, get_readyz(address)).await.map_err(io::Error::from).flatten();
    let answer = answer.map_err(|error| Unhealthy::NoAnswer(address, error))?;
    if answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.0 200 ") {
        return Ok(());
    }
    let reason = answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body);
    // The body is plain text, or a problem document (RFC 9457) with the reason in its detail.
    let problem: Option<serde_json::Value> = serde_json::from_str(reason).ok();
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
    Err(Unhealthy::NotReady(detail.unwrap_or(reason).trim().to_owned()))
}

async fn get_readyz(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\nhost: localhost\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The loopback address if the process listens on every address.
fn on_this_machine(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
