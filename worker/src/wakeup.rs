//! Wake-ups: the API sends a datagram when it has placed orders, and an idle worker then claims at once. Its content
//! does not matter.
//!
//! Only a claimer that waits for its next poll reads the socket, so wake-ups cost a busy worker nothing: the kernel
//! keeps a few hundred datagrams and drops the rest, and all that wait are one wake-up. Orders that come one by one are
//! claimed one by one, at once. When they keep coming, they are claimed many together, as often as by polling alone,
//! since wake-ups must not make work under load.
//!
//! `Invariant:` nothing depends on it. If a datagram is lost, or no port could be bound, the next poll finds the
//! orders.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::{Instant, sleep_until, timeout};

use crate::metrics::WorkerMetrics;

/// The shortest pause between two wake-ups. A wake-up that had to wait for the pause, or came within [`PAUSE_MAX`] of
/// the last one, doubles the pause up to [`PAUSE_MAX`]; a later one resets it. A longer pause would delay orders that
/// follow each other closely; a shorter one is of no use, as the API also waits this long between two datagrams.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// The pause between two wake-ups while datagrams keep coming. Anyone who reaches the port can send them, and this
/// bounds the work that they cause: 20 claims a second. A longer pause would delay orders by more than the default poll
/// does; a shorter one would make more and smaller commits under load.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// The most datagrams that count as one wake-up: more than the kernel keeps by default, yet a limit, so that a flood
/// cannot hold up the worker.
const DATAGRAMS_MAX: usize = 1_000;

/// How long the search for the advertised address may take. If a name server takes longer, this worker does without
/// wake-ups rather than without work.
const FOUND_WITHIN: Duration = Duration::from_secs(1);

pub(crate) struct Wakeup {
    socket: Option<UdpSocket>,
    /// Until then datagrams wait in the kernel.
    reads_from: Instant,
    pause: Duration,
    metrics: Arc<WorkerMetrics>,
}

impl Wakeup {
    /// Binds this address, or another port if this one is taken.
    pub(crate) async fn bind(listen: SocketAddr, metrics: Arc<WorkerMetrics>) -> Self {
        let socket = match UdpSocket::bind(listen).await {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, %listen, "cannot listen for wake-ups here; trying another port");
                let other = UdpSocket::bind((listen.ip(), 0)).await;
                other
                    .inspect_err(
                        |error| tracing::warn!(%error, "cannot listen for wake-ups; orders are found by polling alone"),
                    )
                    .ok()
            }
        };
        Self { socket, reads_from: Instant::now(), pause: PAUSE_MIN, metrics }
    }

    /// Waits for a datagram that has come since the last call. All that are waiting make one wake-up.
    pub(crate) async fn notified(&mut self) {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        // Longer datagrams are truncated.
        let mut datagram = [0];
        loop {
            sleep_until(self.reads_from).await;
            let has_waited = socket.try_recv(&mut datagram).is_ok();
            let is_read = has_waited || socket.recv(&mut datagram).await.is_ok();
            let now = Instant::now();
            let comes_soon = has_waited || now < self.reads_from + PAUSE_MAX.saturating_sub(self.pause);
            self.pause = if comes_soon { (self.pause * 2).min(PAUSE_MAX) } else { PAUSE_MIN };
            self.reads_from = now + self.pause;
            if is_read {
                break;
            }
        }
        // The claim that follows sees the orders of every datagram that has come by now.
        for _ in 1..DATAGRAMS_MAX {
            if socket.try_recv(&mut datagram).is_err() {
                break;
            }
        }
        self.metrics.wakeups.inc();
    }

    /// The address to tell the API, which depends on the route to the database at this host and port.
    pub(crate) fn advertised_address(&self, database: (String, u16)) -> AdvertisedAddress {
        AdvertisedAddress { bound: self.socket.as_ref().and_then(|socket| socket.local_addr().ok()), database }
    }
}

/// The address to which the API sends its wake-ups, which may change with the network.
#[derive(Debug)]
pub(crate) struct AdvertisedAddress {
    bound: Option<SocketAddr>,
    database: (String, u16),
}

impl AdvertisedAddress {
    /// The bound address; if that stands for every address of the machine, the one from which this machine reaches the
    /// database, as the API can reach that network too.
    pub(crate) async fn find(&self) -> Option<SocketAddr> {
        let bound = self.bound?;
        if !bound.ip().is_unspecified() {
            return Some(bound);
        }
        let ip = timeout(FOUND_WITHIN, self.own_ip(bound.ip())).await.ok().flatten()?;
        Some(SocketAddr::new(ip, bound.port()))
    }

    /// The address from which this machine reaches the database, if the bound socket can be reached at it.
    async fn own_ip(&self, bound: IpAddr) -> Option<IpAddr> {
        let (host, port) = &self.database;
        for database in lookup_host((host.as_str(), *port)).await.ok()? {
            let any = if database.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
            if bound.is_ipv4() && any.is_ipv6() {
                continue;
            }
            // Connecting a UDP socket sends nothing: it asks the kernel for the route.
            let socket = UdpSocket::bind((any, 0)).await.ok()?;
            if socket.connect(database).await.is_ok() {
                return socket.local_addr().ok().map(|own| own.ip());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Tested = Result<(), Box<dyn std::error::Error>>;

    async fn bind(listen: SocketAddr) -> Result<(Wakeup, SocketAddr), Box<dyn std::error::Error>> {
        let metrics = WorkerMetrics::register(&prometheus::Registry::new(), 1)?;
        let wakeup = Wakeup::bind(listen, Arc::new(metrics)).await;
        let bound = wakeup.socket.as_ref().ok_or("no socket")?.local_addr()?;
        Ok((wakeup, bound))
    }

    /// A wake-up, and a socket that sends to it.
    async fn connected() -> Result<(Wakeup, UdpSocket), Box<dyn std::error::Error>> {
        let (wakeup, bound) = bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let api = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        api.connect(bound).await?;
        Ok((wakeup, api))
    }

    #[tokio::test]
    async fn the_advertised_address_is_the_bound_one_or_where_that_is_any_the_one_on_the_way_to_the_database() -> Tested
    {
        let (v4, local) = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::LOCALHOST));
        for (listen, database, own) in [
            (local, "nobody.invalid", Some(local)),
            (v4, "127.0.0.1", Some(local)),
            (Ipv6Addr::UNSPECIFIED.into(), "127.0.0.1", Some(local)),
            (v4, "::1", None),
        ] {
            // Not every machine has addresses of both kinds.
            let Ok((wakeup, bound)) = bind((listen, 0).into()).await else { continue };

            let address = wakeup.advertised_address((database.to_owned(), 3306)).find().await;

            assert_eq!(address, own.map(|own| (own, bound.port()).into()), "{listen} {database}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn where_its_port_is_taken_another_one_is_bound() -> Tested {
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let taken = other.local_addr()?;

        let (_, bound) = bind(taken).await?;

        assert_eq!(bound.ip(), taken.ip());
        assert_ne!(bound.port(), taken.port());
        Ok(())
    }

    #[tokio::test]
    async fn many_datagrams_are_one_wakeup_and_the_next_comes_after_a_pause() -> Tested {
        let (mut wakeup, api) = connected().await?;
        for _ in 0..100 {
            api.send(b"").await?;
        }

        let start = Instant::now();
        wakeup.notified().await;
        api.send(&[0; 9_000]).await?;
        wakeup.notified().await;

        assert!(start.elapsed() >= PAUSE_MIN, "{:?}", start.elapsed());
        assert_eq!(wakeup.metrics.wakeups.get(), 2);
        let third = timeout(PAUSE_MAX * 2, wakeup.notified()).await;
        assert!(third.is_err(), "nobody sent one");
        Ok(())
    }

    #[tokio::test]
    async fn datagrams_that_come_one_by_one_without_an_end_make_20_wakeups_a_second() -> Tested {
        let (mut wakeup, api) = connected().await?;
        let sending = async {
            // Each comes when the shortest pause is over.
            for _ in 0..100 {
                api.send(b"").await?;
                tokio::time::sleep(PAUSE_MIN + Duration::from_millis(2)).await;
            }
            Ok::<_, std::io::Error>(())
        };

        let start = Instant::now();
        tokio::select! {
            sent = sending => sent?,
            () = async { loop { wakeup.notified().await } } => {}
        }

        // The first ones, while the pause grows, and one for each full pause.
        let (wakeups, most) = (wakeup.metrics.wakeups.get(), 8 + start.elapsed().as_millis() / PAUSE_MAX.as_millis());
        assert!(u128::from(wakeups) <= most, "{wakeups} in {:?}", start.elapsed());
        Ok(())
    }
}
