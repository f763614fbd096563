//! Deadlines for slow clients. hyper itself has a single limit for both a request's head and the pause between
//! requests, and none for a client that does not read its answer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// The fewest bytes per second that a client may read, over a whole answer. A higher rate would cut off clients on bad
/// lines; at a lower one, a client that reads a little now and then could keep a large answer in memory for hours.
const READ_RATE_MIN: u64 = 16 * 1024;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimits {
    /// For the head of a request, from the start of the connection or the head's first byte. Less would fail clients on
    /// bad lines; more would let clients that send nothing keep their connections longer.
    head: Duration,
    /// Until the next request. Longer than the minute for which load balancers usually keep their connections, so that
    /// none is closed just as a request arrives; longer still would keep descriptors for clients that are gone.
    idle: Duration,
    /// To read an answer, in addition to the time that [`READ_RATE_MIN`] gives. Less would cut off clients on bad
    /// lines; more would keep answers in memory for clients that do not read them.
    read: Duration,
}

impl TimeLimits {
    pub(super) const USUAL: Self =
        Self { head: Duration::from_secs(10), idle: Duration::from_secs(75), read: Duration::from_secs(30) };

    /// Just enough for a client that sends its request at once.
    pub(super) const CROWDED: Self = Self { head: Duration::from_secs(1), ..Self::USUAL };
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing has arrived yet; the first head must be complete by then.
    Fresh(Instant),
    /// A head is arriving, and must be complete by then.
    Head(Instant),
    /// A request is being answered, for which the handler has its own limits.
    Answering,
    /// The next request must begin by then.
    Idle(Instant),
}

/// The deadlines of one connection, shared by its stream and its service.
#[derive(Clone, Debug)]
pub(super) struct Deadlines {
    phase: Arc<Mutex<Phase>>,
    limits: TimeLimits,
}

impl Deadlines {
    pub(super) fn new(limits: TimeLimits) -> Self {
        Self { phase: Arc::new(Mutex::new(Phase::Fresh(Instant::now() + limits.head))), limits }
    }

    /// The head of a request has arrived.
    pub(super) fn answering(&self) {
        self.change(|_| Phase::Answering);
    }

    /// The request has been answered.
    pub(super) fn answered(&self) {
        self.change(|_| Phase::Idle(Instant::now() + self.limits.idle));
    }

    /// The server is about to close: a connection that has sent nothing yet must start a request within this time.
    pub(super) fn hurry(&self, within: Duration) {
        self.change(|phase| match phase {
            Phase::Fresh(until) => Phase::Fresh(until.min(Instant::now() + within)),
            phase => phase,
        });
    }

    fn has_read(&self) {
        self.change(|phase| match phase {
            Phase::Fresh(until) => Phase::Head(until),
            Phase::Idle(_) => Phase::Head(Instant::now() + self.limits.head),
            phase => phase,
        });
    }

    /// The time by which the client must send something.
    fn send_by(&self) -> Option<Instant> {
        match self.change(|phase| phase) {
            Phase::Fresh(until) | Phase::Head(until) | Phase::Idle(until) => Some(until),
            Phase::Answering => None,
        }
    }

    fn change(&self, to: impl FnOnce(Phase) -> Phase) -> Phase {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        *phase = to(*phase);
        *phase
    }
}

/// The stream of a connection, which fails when its client is too slow.
#[derive(Debug)]
pub(super) struct DeadlineStream {
    stream: Arc<TcpStream>,
    deadlines: Deadlines,
    /// When the client first kept an answer waiting, and how many bytes of it the client has taken.
    blocked_since: Option<Instant>,
    written: u64,
    timer: Pin<Box<Sleep>>,
}

impl DeadlineStream {
    pub(super) fn new(stream: Arc<TcpStream>, deadlines: Deadlines) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + deadlines.limits.idle));
        Self { stream, deadlines, blocked_since: None, written: 0, timer }
    }

    fn poll_deadline(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(deadline) = deadline else { return Poll::Pending };
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// The time by which the client must read what waits to be written.
    fn read_by(&self) -> Option<Instant> {
        let earned = Duration::from_secs(self.written / READ_RATE_MIN);
        self.blocked_since.map(|since| since + self.deadlines.limits.read + earned)
    }
}

/// Tries `io` until the socket is not ready for it.
fn poll_io<T>(
    mut ready: impl FnMut() -> Poll<io::Result<()>>,
    mut io: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        ready!(ready())?;
        match io() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

impl AsyncRead for DeadlineStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let stream = &*this.stream;
        match poll_io(|| stream.poll_read_ready(cx), || stream.try_read_buf(buf)) {
            Poll::Ready(read) => {
                if read? > 0 {
                    // A new request shows that the client has read the last answer.
                    (this.blocked_since, this.written) = (None, 0);
                    this.deadlines.has_read();
                }
                Poll::Ready(Ok(()))
            }
            // One timer serves both directions; an unread answer takes precedence.
            Poll::Pending => {
                let deadline = this.read_by().or_else(|| this.deadlines.send_by());
                this.poll_deadline(deadline, cx).map(Err)
            }
        }
    }
}

impl AsyncWrite for DeadlineStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let stream = &*this.stream;
        if let Poll::Ready(written) = poll_io(|| stream.poll_write_ready(cx), || stream.try_write_vectored(bufs)) {
            this.written += written.as_ref().map_or(0, |bytes| *bytes as u64);
            return Poll::Ready(written);
        }
        this.blocked_since.get_or_insert_with(Instant::now);
        this.poll_deadline(this.read_by(), cx).map(Err)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(&*self.stream, Shutdown::Write).map_err(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;
    use tokio::time::timeout;

    use super::*;

    const HEAD: Duration = Duration::from_millis(40);
    const IDLE: Duration = Duration::from_millis(120);
    const READ: Duration = Duration::from_millis(80);

    /// Small, so that the kernel buffers less than a client must read in a second.
    const BUFFER: u32 = 2 * 1024;

    /// A client, the server's stream to it, its deadlines, and when they began to run.
    async fn connected() -> (TcpStream, DeadlineStream, Deadlines, Instant) {
        let (client, server) = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap());
        client.set_recv_buffer_size(BUFFER).unwrap();
        server.set_send_buffer_size(BUFFER).unwrap();
        server.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = server.listen(1).unwrap();
        let client = client.connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let start = Instant::now();
        let deadlines = Deadlines::new(TimeLimits { head: HEAD, idle: IDLE, read: READ });
        (client, DeadlineStream::new(Arc::new(server), deadlines.clone()), deadlines, start)
    }

    #[tokio::test]
    async fn a_head_that_comes_byte_by_byte_wins_no_time() {
        let (mut client, mut stream, _, start) = connected().await;
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

        assert!((HEAD..IDLE).contains(&start.elapsed()), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a_client_that_sends_nothing_is_given_up_at_its_deadline() {
        let cases: [(fn(&Deadlines), _); 3] =
            [(|_| {}, HEAD), (|fresh| fresh.hurry(HEAD / 4), HEAD / 4), (Deadlines::answered, IDLE)];
        for (change, deadline) in cases {
            let (_client, mut stream, deadlines, start) = connected().await;
            change(&deadlines);

            let read = stream.read_u8().await;

            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert!(start.elapsed() >= deadline, "{:?}", start.elapsed());
        }
    }

    #[tokio::test]
    async fn an_answer_has_all_the_time() {
        let (_client, mut stream, deadlines, _) = connected().await;

        deadlines.answering();

        assert!(timeout(IDLE * 2, stream.read_u8()).await.is_err(), "the stream is silent and stays");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (_client, mut stream, deadlines, start) = connected().await;
        deadlines.answering();

        let written = stream.write_all(&vec![0; 1 << 20]).await;

        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= READ);
    }
}
