use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Below the time-out that container engines give a health check.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Why a process of ours is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// Nothing answers at the address.
    #[error("nothing answers at {0}")]
    NoAnswer(SocketAddr, #[source] std::io::Error),
    /// No answer in time.
    #[error("no answer from {address} within {} s", TIMEOUT.as_secs())]
    Late {
        /// Whom was asked.
        address: SocketAddr,
    },
    /// It says that it is not ready; the text is its reason.
    #[error("not ready: {0}")]
    NotReady(String),
}

/// Asks the process that listens on `listen`, on this machine, whether it is ready: `GET /readyz`.
///
/// # Errors
///
/// When it is not, or does not answer.
pub async fn healthcheck(listen: SocketAddr) -> Result<(), Unhealthy> {
    let address = on_this_machine(listen);
    let answer = tokio::time::timeout(TIMEOUT, get_readyz(address))
        .await
        .map_err(|_| Unhealthy::Late { address })?
        .map_err(|error| Unhealthy::NoAnswer(address, error))?;
    if answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.0 200 ") {
        return Ok(());
    }
    let reason = answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body);
    // A text, or a problem document (RFC 9457), whose detail it is.
    let problem: Option<serde_json::Value> = serde_json::from_str(reason).ok();
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
    Err(Unhealthy::NotReady(detail.unwrap_or(reason).trim().to_owned()))
}

async fn get_readyz(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\nhost: localhost\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A process that listens on every address is reached over loopback.
fn on_this_machine(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
