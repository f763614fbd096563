//! Clients that do with their connection what no HTTP library does.

use orders_tests::Program;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leave {
    /// It says that it will send nothing more, and may still read (FIN).
    HalfClose,
    /// It tears the connection down (RST).
    Reset,
}

/// Sends what it is told, as far as the program reads it.
pub(crate) async fn connect(program: &Program, sent: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(program.address()).await.unwrap();
    let _ = stream.write_all(sent).await;
    stream
}

/// All that comes until the program hangs up.
pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that was ended with unread bytes ends with a reset, after what was said.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// Sends a request, closes the sending side, and reads what comes.
pub(crate) async fn ask_and_close(program: &Program, sent: &str) -> String {
    let mut stream = connect(program, sent.as_bytes()).await;
    stream.shutdown().await.unwrap();
    read_all(&mut stream).await
}

/// Leaves; the connection is returned while it can still be read.
pub(crate) async fn leave(mut stream: TcpStream, how: Leave) -> Option<TcpStream> {
    match how {
        Leave::HalfClose => {
            stream.shutdown().await.unwrap();
            Some(stream)
        }
        Leave::Reset => {
            stream.set_zero_linger().unwrap();
            None
        }
    }
}

/// A request without a body.
pub(crate) fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// A request that brings JSON.
pub(crate) fn post(path: &str, json: &str) -> String {
    let length = json.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{json}"
    )
}
