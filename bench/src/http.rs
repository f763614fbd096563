//! A minimal HTTP client, because it shares the machine with the server that it measures.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Room for the answer to a single order, or part of a larger answer.
const BUFFER: usize = 64 * 1024;

/// A request that creates orders, with its body.
#[must_use]
pub fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}"
    );
    format!("{head}\r\n\r\n{body}").into_bytes()
}

/// A request for `path`.
#[must_use]
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

/// The start of an answer: its status, and how many bytes it has in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Bytes of the head and the body.
    pub length: usize,
    body_from: usize,
}

/// Reads a head; `None` while it is not complete. The servers name each body's length.
///
/// # Errors
/// Where it is not the head of an answer, or does not tell its length.
pub fn head(answer: &[u8]) -> Result<Option<Head>> {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let status = answer.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
    let status = status.context("a head has no status")?;
    Ok(message_length(answer)?.map(|length| Head { status, length, body_from: end + 4 }))
}

/// Bytes of a request in all, once its head is complete. Clients name each body's length.
///
/// # Errors
/// Where it is no request, or does not tell its length.
pub fn message_length(message: &[u8]) -> Result<Option<usize>> {
    let Some(end) = message.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(message.get(..end).unwrap_or_default()).context("a head is not text")?;
    let length = text.split("\r\n").find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    Ok(Some(end + 4 + length.context("a message does not state its length")?))
}

/// A connection that is kept for many requests, one at a time.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If nothing listens there.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Takes over an existing connection.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        Self { stream, answer: Vec::with_capacity(BUFFER) }
    }

    /// Sends a request and returns the status of its answer, once that is complete.
    ///
    /// # Errors
    /// If the connection ends before that, or the bytes are not an answer.
    pub async fn ask(&mut self, request: &[u8]) -> Result<u16> {
        Ok(self.exchange(request).await?.status)
    }

    /// The body of the answer to a GET of `path`.
    ///
    /// # Errors
    /// If there is no complete answer, or its status is not 200.
    pub async fn read(&mut self, path: &str) -> Result<String> {
        let head = self.exchange(&get(path)).await?;
        if head.status != 200 {
            bail!("GET {path} answered {}", head.status);
        }
        Ok(String::from_utf8_lossy(self.answer.get(head.body_from..).unwrap_or_default()).into_owned())
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Head> {
        self.answer.clear();
        self.stream.write_all(request).await?;
        let mut known = None;
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the connection was closed before the answer was complete");
            }
            if known.is_none() {
                known = head(&self.answer)?;
            }
            if let Some(head) = known
                && self.answer.len() >= head.length
            {
                return Ok(head);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_measured_by_its_head() {
        let answer = b"HTTP/1.1 201 Created\r\ncontent-type: x\r\ncontent-length: 7\r\n\r\n{}";

        assert_eq!(head(answer).unwrap(), Some(Head { status: 201, length: 67, body_from: 60 }));
        assert_eq!(head(answer.get(..50).unwrap()).unwrap(), None);
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
