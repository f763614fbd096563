use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Bytes that a client may send behind a request that waits: several bare requests. More would be memory that each of
/// thousands of waits could take; with less, clients that pipeline would see their waits cut short.
const AHEAD_MAX: usize = 2 * 1024;

/// Watches the client of one connection, for a handler that waits for its sake and has nothing to tell it meanwhile.
///
/// A server that answers every request that was sent, half-closed connections included, does not read while it answers. So
/// nothing would tell it that the client of a long wait is gone.
#[derive(Clone, Debug, Default)]
pub struct ClientWatch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_on: AtomicBool,
    closed: Notify,
}

impl ClientWatch {
    /// Waits until the client has closed its side (FIN), perhaps to hear the answer and no more, or until it has sent so
    /// much behind its request that its end could not be seen any more. If the connection breaks meanwhile (RST), the
    /// handler is dropped.
    ///
    /// Only the handler's own task sees this: what it spawns must not wait for it.
    pub async fn closed(&self) {
        // Whoever stops to wait, by the answer or by being dropped, stops the watch.
        let _on = On::new(&self.0.is_on);
        self.0.closed.notified().await;
    }
}

struct On<'a>(&'a AtomicBool);

impl<'a> On<'a> {
    // One task polls both the handler and the stream, so that nothing is to be ordered.
    fn new(is_on: &'a AtomicBool) -> Self {
        is_on.store(true, Ordering::Relaxed);
        Self(is_on)
    }
}

impl Drop for On<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A stream that looks for the client's end while its [`ClientWatch`] is on, by reading ahead.
///
/// It does so whenever it is flushed. That is how hyper ends each poll of a connection, in the task that has just polled the
/// handler; an error of the flush ends the connection, and the handler with it.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    watch: ClientWatch,
    /// Read, and not yet asked for.
    ahead: Vec<u8>,
    is_at_end: bool,
}

impl<S: AsyncRead + Unpin> Watched<S> {
    pub(super) fn new(stream: S, watch: ClientWatch) -> Self {
        Self { stream, watch, ahead: Vec::new(), is_at_end: false }
    }

    fn look(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut room = [MaybeUninit::uninit(); AHEAD_MAX];
        while !self.is_at_end && self.ahead.len() < AHEAD_MAX {
            let mut room = ReadBuf::uninit(&mut room);
            let mut part = room.take(AHEAD_MAX - self.ahead.len());
            match Pin::new(&mut self.stream).poll_read(cx, &mut part) {
                // The task is woken by what comes next.
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => read?,
            }
            self.is_at_end = part.filled().is_empty();
            self.ahead.extend_from_slice(part.filled());
        }
        self.watch.0.closed.notify_waiters();
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let rest = this.ahead.split_off(this.ahead.len().min(buf.remaining()));
        buf.put_slice(&this.ahead);
        this.ahead = rest;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.watch.0.is_on.load(Ordering::Relaxed) {
            this.look(cx)?;
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn connected() -> (DuplexStream, Watched<DuplexStream>, ClientWatch) {
        let (client, server) = duplex(2 * AHEAD_MAX);
        let watch = ClientWatch::default();
        (client, Watched::new(server, watch.clone()), watch)
    }

    /// As hyper does: the handler's turn, then a flush. Returns whether the handler has seen the end.
    async fn turn(handler: Pin<&mut impl Future<Output = ()>>, stream: &mut Watched<DuplexStream>) -> bool {
        let mut handler = handler;
        poll_fn(|cx| {
            let _ = handler.as_mut().poll(cx);
            let _ = Pin::new(&mut *stream).poll_flush(cx);
            Poll::Ready(handler.as_mut().poll(cx).is_ready())
        })
        .await
    }

    #[tokio::test]
    async fn the_end_is_seen_behind_bytes_which_are_read_later() {
        let (mut client, mut stream, watch) = connected();
        let mut closed = pin!(watch.closed());
        assert!(!turn(closed.as_mut(), &mut stream).await);

        client.write_all(b"behind").await.unwrap();
        assert!(!turn(closed.as_mut(), &mut stream).await, "bytes are no end");
        drop(client);

        assert!(turn(closed.as_mut(), &mut stream).await);
        assert_eq!(stream.read_u8().await.unwrap(), b'b', "a small buffer takes a part");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "ehind");
    }

    #[tokio::test]
    async fn more_bytes_than_are_read_ahead_are_an_end_of_the_wait_and_none_is_lost() {
        let (mut client, mut stream, watch) = connected();
        let sent: Vec<u8> = (0..=AHEAD_MAX).map(|n| n.to_le_bytes()[0]).collect();
        client.write_all(&sent).await.unwrap();
        drop(client);

        for _ in 0..2 {
            assert!(turn(pin!(watch.closed()), &mut stream).await, "now, and for the next that waits");
        }

        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert!(read == sent);
    }

    #[tokio::test]
    async fn nothing_is_read_ahead_where_nobody_waits() {
        let (mut client, mut stream, watch) = connected();
        assert!(!turn(pin!(watch.closed()), &mut stream).await);
        client.write_all(b"next").await.unwrap();

        stream.flush().await.unwrap();

        assert!(stream.ahead.is_empty());
    }
}
