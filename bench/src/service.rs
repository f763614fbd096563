//! A service that takes every order that it is sent, and does nothing with it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use orders_bench::http::message_length;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it answers.
const TAKEN: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// Starts it on a free port. It runs until the runtime ends.
pub(crate) async fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(answer(connection));
        }
    });
    Ok(address)
}

/// Answers each request of a connection until the client closes it.
async fn answer(mut connection: TcpStream) -> Result<()> {
    let mut request = Vec::with_capacity(4096);
    connection.set_nodelay(true)?;
    while connection.read_buf(&mut request).await? > 0 {
        if let Some(length) = message_length(&request)?.filter(|length| request.len() >= *length) {
            request.drain(..length);
            connection.write_all(TAKEN).await?;
        }
    }
    Ok(())
}
