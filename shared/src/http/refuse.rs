use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use poem::http::{Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Makes the answer to a request whose head is unfit: it is no HTTP, has no one `Host` (400), is too large (431), or brings
/// a body in a transfer coding that is not understood (501).
pub type Refusal = Arc<dyn Fn(StatusCode) -> Response<String> + Send + Sync>;

/// The only headers of an answer that hyper, or the server, gives by itself: no handler has had any part in it.
const BARE: [&str; 3] = ["connection", "content-length", "date"];

/// How long a refused client is read from, so that it gets its answer. Less would cut those on slow lines, more would keep
/// those who never end.
const LINGER: Duration = Duration::from_secs(2);

/// A stream on which bare answers become those of the [`Refusal`].
pub(super) struct Refusing<S> {
    stream: S,
    refusal: Option<Refusal>,
    instead: Option<Instead>,
    /// Runs once all is said.
    linger: Option<Pin<Box<Sleep>>>,
}

/// What is written instead of an answer, and how much of it has been.
struct Instead {
    text: String,
    written: usize,
}

impl<S> Refusing<S> {
    /// Without a refusal it lets everything pass.
    pub(super) fn new(stream: S, refusal: Option<Refusal>) -> Self {
        Self { stream, refusal, instead: None, linger: None }
    }
}

/// What to write instead of these bytes, if they are a bare answer.
fn instead(bytes: &[u8], refusal: &Refusal) -> Option<Instead> {
    if !bytes.starts_with(b"HTTP/1.") {
        return None;
    }
    let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let (status_line, headers) = head.split_once("\r\n")?;
    let status: StatusCode = status_line.split(' ').nth(1)?.parse().ok()?;
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let is_refusal = status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED;
    if !is_refusal || !headers.split("\r\n").all(|line| BARE.contains(&name(line).as_str())) {
        return None;
    }
    let kept = headers.split("\r\n").filter(|line| name(line) != "content-length").map(str::to_owned);
    let (parts, body) = refusal(status).into_parts();
    let added = parts.headers.iter().filter_map(|(name, value)| Some(format!("{name}: {}", value.to_str().ok()?)));
    let length = format!("content-length: {}", body.len());
    let lines: Vec<_> = [status_line.to_owned()].into_iter().chain(kept).chain(added).chain([length]).collect();
    Some(Instead { text: format!("{}\r\n\r\n{body}", lines.join("\r\n")), written: 0 })
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Refusing<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let (None, Some(refusal)) = (&this.instead, &this.refusal) {
            this.instead = instead(buf, refusal);
        }
        let Some(instead) = &mut this.instead else { return Pin::new(&mut this.stream).poll_write(cx, buf) };
        while let Some(rest) = instead.text.as_bytes().get(instead.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut this.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => instead.written += written,
            }
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut parts = bufs.iter().filter(|part| !part.is_empty());
        match (parts.next(), parts.next()) {
            // A bare answer is in one part.
            (Some(only), None) => self.poll_write(cx, only),
            _ => Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        if this.instead.is_none() {
            return Poll::Ready(Ok(()));
        }
        // To close with unread bytes would reset the connection, and take the refusal away from its client.
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut sink = [MaybeUninit::uninit(); 4096];
        // The clock is asked too: the timer does not fire for a task that never has nothing to read.
        while linger.as_mut().poll(cx).is_pending() && Instant::now() < linger.deadline() {
            let mut rest = ReadBuf::uninit(&mut sink);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut rest)) {
                Ok(()) if !rest.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Refusing<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use poem::http::header;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const HEAD: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n";

    /// What a client reads when this is written, in parts of a few bytes.
    async fn written(answer: &str) -> String {
        let refusal = |status: StatusCode| {
            Response::builder().header(header::WARNING, "it").body(format!("it is {}", status.as_u16())).unwrap()
        };
        let (mut client, server) = duplex(7);
        let mut stream = Refusing::new(server, Some(Arc::new(refusal)));
        let writing = async move {
            stream.write_all(answer.as_bytes()).await.unwrap();
            drop(stream);
        };
        let mut read = String::new();
        let ((), length) = tokio::join!(writing, client.read_to_string(&mut read));
        length.unwrap();
        read
    }

    #[tokio::test]
    async fn a_bare_answer_is_replaced_but_for_its_status_and_date() {
        let read = written(&format!("{HEAD}content-length: 0\r\ndate: today\r\n\r\n")).await;

        assert_eq!(read, format!("{HEAD}date: today\r\nwarning: it\r\ncontent-length: 9\r\n\r\nit is 431"));
    }

    #[tokio::test]
    async fn an_answer_of_the_service_stays() {
        for answer in [
            format!("{HEAD}content-length: 0\r\nx-request-id: 7\r\n\r\n"),
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
            format!("[{HEAD}content-length: 0\r\n\r\n"),
            format!("{HEAD}content-length: 1\r\n\r\na"),
        ] {
            assert_eq!(written(&answer).await, answer);
        }
    }
}
