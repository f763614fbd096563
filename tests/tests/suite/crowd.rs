//! Clients that ask and do not wait for the answer.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

/// A query takes a millisecond or a few: a client that goes then is likely to interrupt one.
const GOES_AFTER: [Duration; 4] =
    [Duration::ZERO, Duration::from_micros(500), Duration::from_millis(1), Duration::from_millis(3)];

/// Sends `requests` in a row, each on a connection of its own that is reset before its answer has come.
pub(crate) async fn ask_and_go(api: SocketAddr, path: &str, requests: usize) {
    for request in 0..requests {
        // The API may be away, or have no room: then there is nothing to cut.
        let Ok(mut client) = TcpStream::connect(api).await else { continue };
        let asked = format!("GET {path} HTTP/1.1\r\nhost: {api}\r\n\r\n");
        let _ = client.write_all(asked.as_bytes()).await;
        sleep(GOES_AFTER[request % GOES_AFTER.len()]).await;
        let _ = client.set_zero_linger();
    }
}

/// The same from several clients at a time.
pub(crate) async fn come_and_go(api: SocketAddr, path: &'static str, clients: usize, requests: usize) {
    let crowd: JoinSet<()> = (0..clients).map(|_| ask_and_go(api, path, requests)).collect();
    crowd.join_all().await;
}

/// Opens a connection to a server, reads its greeting and goes without a word: an interrupted handshake.
pub(crate) async fn interrupt_handshake(server: SocketAddr) {
    let mut client = TcpStream::connect(server).await.unwrap();
    let mut greeting = [0; 16];
    client.read_exact(&mut greeting).await.unwrap();
}
