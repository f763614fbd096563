use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes a second that a client reads at least, over a whole answer. More would cut clients on bad lines; with less, one who
/// reads a little now and then could keep a large answer in memory for hours.
const LEAST_RATE: u64 = 16 * 1024;

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the head of a request, from the connection's beginning or the head's first byte. Less would fail lines that are
    /// merely bad; more would let clients that send nothing keep their connections for longer.
    head: Duration,
    /// For the next request. Longer than the minute for which load balancers usually keep their connections, so that one is
    /// not closed under a request; longer still would keep descriptors for clients that are gone.
    rest: Duration,
    /// For the client to read what is written to it, and [`LEAST_RATE`] beside it. Less would cut clients on bad lines, more
    /// would keep answers in memory for those who do not read them.
    read: Duration,
}

impl Patience {
    /// With everybody.
    pub(super) const USUAL: Self =
        Self { head: Duration::from_secs(10), rest: Duration::from_secs(75), read: Duration::from_secs(30) };

    /// When there are too many: just enough for a client that has its request at hand.
    pub(super) const SHORT: Self = Self { head: Duration::from_secs(1), ..Self::USUAL };
}

/// What a connection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has come yet; its first head must be here by then.
    Fresh(Instant),
    /// A head arrives, and must be here by then.
    Head(Instant),
    /// A request is being answered: those who answer it mind the time.
    Answering,
    /// All is answered; the next request must begin by then.
    Resting(Instant),
}

/// The pace of one connection, known to its stream and to its service.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    phase: Arc<Mutex<Phase>>,
    patience: Patience,
}

impl Pace {
    /// A new connection.
    pub(super) fn new(patience: Patience) -> Self {
        Self { phase: Arc::new(Mutex::new(Phase::Fresh(Instant::now() + patience.head))), patience }
    }

    /// The head of a request is here.
    pub(super) fn answering(&self) {
        self.change(|_| Phase::Answering);
    }

    /// The request is answered.
    pub(super) fn answered(&self) {
        self.change(|_| Phase::Resting(Instant::now() + self.patience.rest));
    }

    /// The server is about to end: a connection that has brought nothing must begin within this time.
    pub(super) fn hurry(&self, within: Duration) {
        self.change(|phase| match phase {
            Phase::Fresh(until) => Phase::Fresh(until.min(Instant::now() + within)),
            phase => phase,
        });
    }

    /// Something has been read.
    fn has_read(&self) {
        self.change(|phase| match phase {
            Phase::Fresh(until) => Phase::Head(until),
            Phase::Resting(_) => Phase::Head(Instant::now() + self.patience.head),
            phase => phase,
        });
    }

    /// Until when the client must send something.
    fn until(&self) -> Option<Instant> {
        match *self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Fresh(until) | Phase::Head(until) | Phase::Resting(until) => Some(until),
            Phase::Answering => None,
        }
    }

    fn change(&self, to: impl FnOnce(Phase) -> Phase) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        *phase = to(*phase);
    }
}

/// A stream that ends with an error when its client is too slow.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    pace: Pace,
    /// Since when the client lets the answer wait, at times, and how much of it it has read since.
    waits_since: Option<Instant>,
    has_read: u64,
    timer: Pin<Box<Sleep>>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pace: Pace) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + pace.patience.rest));
        Self { stream, pace, waits_since: None, has_read: 0, timer }
    }

    /// An error when it is later than this.
    fn in_time(&mut self, until: Option<Instant>, context: &mut Context<'_>) -> Poll<io::Error> {
        let Some(until) = until else { return Poll::Pending };
        if self.timer.deadline() != until {
            self.timer.as_mut().reset(until);
        }
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(io::Error::from(io::ErrorKind::TimedOut))
    }

    /// Notes how the client reads, and gives up one that is too slow.
    fn minding(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(written) => {
                self.has_read += written.as_ref().map_or(0, |bytes| *bytes as u64);
                Poll::Ready(written)
            }
            Poll::Pending => {
                self.waits_since.get_or_insert_with(Instant::now);
                self.in_time(self.read_by(), context).map(Err)
            }
        }
    }

    /// By when the client must read what waits to be written.
    fn read_by(&self) -> Option<Instant> {
        let earned = Duration::from_secs(self.has_read / LEAST_RATE);
        self.waits_since.map(|since| since + self.pace.patience.read + earned)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(read) => {
                if buf.filled().len() > before {
                    // A new request: what was written before has been read.
                    (this.waits_since, this.has_read) = (None, 0);
                    this.pace.has_read();
                }
                Poll::Ready(read)
            }
            // There is one timer for both directions: what must be read comes first.
            Poll::Pending => {
                let until = this.read_by().or_else(|| this.pace.until());
                this.in_time(until, cx).map(Err)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.minding(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.minding(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    const HEAD: Duration = Duration::from_millis(40);
    const REST: Duration = Duration::from_millis(120);
    const READ: Duration = Duration::from_millis(80);

    /// A client, the server's stream to it, and its pace.
    fn connected() -> (DuplexStream, Paced<DuplexStream>, Pace) {
        let (client, server) = duplex(64);
        let pace = Pace::new(Patience { head: HEAD, rest: REST, read: READ });
        (client, Paced::new(server, pace.clone()), pace)
    }

    #[tokio::test]
    async fn who_sends_nothing_is_given_up() {
        let start = Instant::now();
        let (_client, mut stream, _) = connected();

        let read = stream.read_u8().await;

        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!((HEAD..REST).contains(&start.elapsed()), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a_head_that_comes_byte_by_byte_wins_no_time() {
        let start = Instant::now();
        let (mut client, mut stream, _) = connected();
        let dripping = async {
            while client.write_u8(b'x').await.is_ok() {
                tokio::time::sleep(HEAD / 10).await;
            }
        };

        let reading = async { while stream.read_u8().await.is_ok() {} };
        tokio::select! {
            () = dripping => panic!("the stream is open"),
            () = reading => {}
        }

        assert!(start.elapsed() >= HEAD);
    }

    #[tokio::test]
    async fn an_answer_has_all_the_time_and_a_rest_its_own() {
        let (_client, mut stream, pace) = connected();

        pace.answering();
        assert!(timeout(REST * 2, stream.read_u8()).await.is_err(), "the stream is silent and stays");
        let start = Instant::now();
        pace.answered();
        let rest = stream.read_u8().await;

        assert_eq!(rest.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= REST, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn who_does_not_read_is_given_up() {
        let start = Instant::now();
        let (_client, mut stream, pace) = connected();
        pace.answering();

        let written = stream.write_all(&[0; 1_000]).await;

        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= READ);
    }

    #[tokio::test]
    async fn a_connection_that_has_brought_nothing_can_be_hurried() {
        let start = Instant::now();
        let (_client, mut stream, pace) = connected();

        pace.hurry(HEAD / 4);
        let read = stream.read_u8().await;

        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= HEAD / 4);
    }
}
