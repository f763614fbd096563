use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use orders_shared::store::Store;
use tokio::sync::{mpsc, watch};

use crate::metrics::ApiMetrics;

/// How long the list of bells is kept. Longer would leave a new worker unheard of for longer, shorter would ask for little:
/// workers come and go seldom.
const KEPT: Duration = Duration::from_secs(1);

/// The least time between two rounds. A worker does not answer more often, so that more rings would be for nothing; longer
/// would itself be a wait.
const ROUNDS_APART: Duration = Duration::from_millis(5);

/// Workers that a round rings at most, others in the next. One of them is idle unless most workers are busy, and then there
/// is no hurry; each that is idle asks the database, so that more would crowd there for the same few orders.
const RUNG_MAX: usize = 8;

/// What a ring says. No worker reads it: it is for people who watch the network.
const WORD: &[u8] = b"ring";

/// Tells idle workers that orders are there, so that they look at once. Costs its caller nothing, and promises nothing: a
/// ring can be lost, and workers look without one too.
#[derive(Clone, Debug)]
pub(crate) struct Bell(mpsc::Sender<()>);

/// Rings the workers whenever the bell is pulled, until the last clone of the bell is dropped.
pub(crate) struct Ringer {
    pulled: mpsc::Receiver<()>,
}

impl Bell {
    pub(crate) fn new() -> (Self, Ringer) {
        // One pull that waits stands for all.
        let (pull, pulled) = mpsc::channel(1);
        (Self(pull), Ringer { pulled })
    }

    /// To be called after the commit, or the workers look too early.
    pub(crate) fn ring(&self) {
        let _ = self.0.try_send(());
    }
}

impl Ringer {
    pub(crate) async fn run(mut self, store: Store, metrics: Arc<ApiMetrics>) {
        let bells = watch::Sender::new(Vec::new());
        tokio::select! {
            () = self.ring(&bells) => {}
            () = Box::pin(keep_listed(&store, &bells, &metrics)) => {}
        }
    }

    async fn ring(&mut self, bells: &watch::Sender<Vec<SocketAddr>>) {
        let sockets = Sockets::open();
        let mut first = 0;
        while self.pulled.recv().await.is_some() {
            for &bell in round(&bells.borrow(), first) {
                sockets.ring(bell);
            }
            first = first.wrapping_add(RUNG_MAX);
            tokio::time::sleep(ROUNDS_APART).await;
        }
    }
}

/// Reads the list of bells again and again. While the database is away the old one is as good as any.
async fn keep_listed(store: &Store, bells: &watch::Sender<Vec<SocketAddr>>, metrics: &ApiMetrics) {
    loop {
        match store.wakeup_addresses().await {
            Ok(listed) => {
                let count = listed.len();
                bells.send_replace(listed);
                metrics.bells(count);
            }
            // Whatever else this process does says so louder.
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "no list of bells"),
        }
        tokio::time::sleep(KEPT).await;
    }
}

/// Those to be rung, beginning with the `first`, counted round and round.
fn round(bells: &[SocketAddr], first: usize) -> impl Iterator<Item = &SocketAddr> {
    let first = first.checked_rem(bells.len()).unwrap_or_default();
    bells.iter().cycle().skip(first).take(bells.len().min(RUNG_MAX))
}

/// One for each kind of address; none where the machine has no such address.
struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Sockets {
    fn open() -> Self {
        let open = |any: IpAddr| {
            // The standard library's, as the runtime's must be waited for before their first use.
            let socket = UdpSocket::bind((any, 0)).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
            socket.inspect_err(|error| tracing::debug!(%error, %any, "no socket for rings")).ok()
        };
        Self { v4: open(Ipv4Addr::UNSPECIFIED.into()), v6: open(Ipv6Addr::UNSPECIFIED.into()) }
    }

    fn ring(&self, bell: SocketAddr) {
        let socket = if bell.is_ipv4() { &self.v4 } else { &self.v6 };
        let sent = socket.as_ref().map_or(Err(io::ErrorKind::Unsupported.into()), |socket| socket.send_to(WORD, bell));
        if let Err(error) = sent {
            tracing::debug!(%error, %bell, "could not ring");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bells(count: u16) -> Vec<SocketAddr> {
        (0..count).map(|port| (Ipv4Addr::LOCALHOST, port).into()).collect()
    }

    fn ports(bells: &[SocketAddr], first: usize) -> Vec<u16> {
        round(bells, first).map(SocketAddr::port).collect()
    }

    #[test]
    fn a_round_rings_each_worker_once_and_no_more_than_it_may() {
        assert_eq!(ports(&bells(0), 8), [0; 0]);
        assert_eq!(ports(&bells(3), 0), [0, 1, 2]);
        assert_eq!(ports(&bells(3), 8), [2, 0, 1]);
        assert_eq!(ports(&bells(20), 0), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(ports(&bells(20), 16), [16, 17, 18, 19, 0, 1, 2, 3]);
        assert_eq!(ports(&bells(20), usize::MAX).len(), RUNG_MAX);
    }

    #[tokio::test]
    async fn rings_that_come_together_are_one_round() {
        let (bell, mut ringer) = Bell::new();
        for _ in 0..100 {
            bell.ring();
        }
        drop(bell);

        assert_eq!(ringer.pulled.recv().await, Some(()));
        assert_eq!(ringer.pulled.recv().await, None);
    }
}
