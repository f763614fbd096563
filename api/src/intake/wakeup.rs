//! Sends the wake-ups that `worker/src/wakeup.rs` hears. By UDP there is nothing to connect, nothing to wait for, and
//! nothing to lose but time.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use orders_shared::store::Store;
use tokio::sync::{mpsc, watch};

use crate::metrics::ApiMetrics;

/// How often the workers' addresses are read. Less often, a new worker would get no wake-ups for longer; more often
/// would gain little, as workers seldom come and go.
const ADDRESSES_READ_EVERY: Duration = Duration::from_secs(1);

/// The least time between two rounds. A worker does not act more often, so more messages would be wasted; a longer time
/// would itself delay orders.
const ROUNDS_APART: Duration = Duration::from_millis(5);

/// Maximum number of workers that a round notifies; the next round notifies the next ones. One of so many is idle,
/// unless most workers are busy and there is no hurry. Every idle worker asks the database, so more would crowd there
/// for the same few orders.
const NOTIFIED_MAX: usize = 8;

/// The content of a message. No worker reads it; it is for people who watch the network.
const MESSAGE: &[u8] = b"wakeup";

/// Tells idle workers that there are orders, so that they look at once. It costs the caller nothing and promises
/// nothing: a message can be lost, and workers look without one too.
#[derive(Clone, Debug)]
pub(crate) struct Wakeup(mpsc::Sender<()>);

/// Sends the messages, until the last clone of its [`Wakeup`] is dropped.
pub(crate) struct WakeupSender(mpsc::Receiver<()>);

impl Wakeup {
    pub(crate) fn new() -> (Self, WakeupSender) {
        // One pending notice stands for any number.
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), WakeupSender(receiver))
    }

    /// Call it after the commit, or the workers will look too early.
    pub(crate) fn notify(&self) {
        let _ = self.0.try_send(());
    }
}

impl WakeupSender {
    pub(crate) async fn run(mut self, store: Store, metrics: Arc<ApiMetrics>) {
        let addresses = watch::Sender::new(Vec::new());
        tokio::select! {
            () = self.send(&addresses) => {}
            () = Box::pin(keep_read(&store, &addresses, &metrics)) => {}
        }
    }

    async fn send(&mut self, addresses: &watch::Sender<Vec<SocketAddr>>) {
        let sockets = Sockets::open();
        let mut first = 0;
        while self.0.recv().await.is_some() {
            for &address in round(&addresses.borrow(), first) {
                sockets.send(address);
            }
            first = first.wrapping_add(NOTIFIED_MAX);
            tokio::time::sleep(ROUNDS_APART).await;
        }
    }
}

/// Reads the addresses in the workers' rows again and again. While the database is away, the old ones stay.
async fn keep_read(store: &Store, addresses: &watch::Sender<Vec<SocketAddr>>, metrics: &ApiMetrics) {
    loop {
        match store.wakeup_addresses().await {
            Ok(read) => {
                metrics.workers_with_wakeup(read.len());
                addresses.send_replace(read);
            }
            // Not a warning: the other tasks of this process warn about the database already.
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "no addresses for wake-ups"),
        }
        tokio::time::sleep(ADDRESSES_READ_EVERY).await;
    }
}

/// The addresses of one round, from the `first` on, cyclically.
fn round(addresses: &[SocketAddr], first: usize) -> impl Iterator<Item = &SocketAddr> {
    let first = first.checked_rem(addresses.len()).unwrap_or_default();
    addresses.iter().cycle().skip(first).take(addresses.len().min(NOTIFIED_MAX))
}

/// A socket for each kind of address; `None` if the machine has no such address.
struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Sockets {
    fn open() -> Self {
        let open = |any: IpAddr| {
            // A socket of the standard library, as one of the runtime must be awaited before its first use.
            let socket = UdpSocket::bind((any, 0)).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
            socket.inspect_err(|error| tracing::debug!(%error, %any, "could not open a socket for wake-ups")).ok()
        };
        Self { v4: open(Ipv4Addr::UNSPECIFIED.into()), v6: open(Ipv6Addr::UNSPECIFIED.into()) }
    }

    fn send(&self, address: SocketAddr) {
        let socket = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let sent =
            socket.as_ref().map_or(Err(io::ErrorKind::Unsupported.into()), |socket| socket.send_to(MESSAGE, address));
        if let Err(error) = sent {
            tracing::debug!(%error, %address, "could not send a wake-up");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_notifies_each_worker_once_and_no_more_than_it_may() {
        for (count, first, notified) in [
            (0, 8, &[][..]),
            (3, 0, &[0, 1, 2]),
            (3, 8, &[2, 0, 1]),
            (20, 0, &[0, 1, 2, 3, 4, 5, 6, 7]),
            (20, 16, &[16, 17, 18, 19, 0, 1, 2, 3]),
        ] {
            let addresses: Vec<SocketAddr> = (0..count).map(|port| (Ipv4Addr::LOCALHOST, port).into()).collect();

            assert_eq!(round(&addresses, first).map(SocketAddr::port).collect::<Vec<_>>(), notified, "{count} {first}");
        }
    }

    #[tokio::test]
    async fn notices_at_the_same_time_are_one_round() {
        let (wakeup, mut sender) = Wakeup::new();
        (0..100).for_each(|_| wakeup.notify());
        drop(wakeup);

        assert_eq!((sender.0.recv().await, sender.0.recv().await), (Some(()), None));
    }
}
