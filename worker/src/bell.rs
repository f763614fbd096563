use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::{Instant, sleep_until, timeout};

use crate::metrics::WorkerMetrics;

/// The least time between two looks that rings cause. Each ring that had to wait for it, or came within [`REST_MAX`] of the
/// last one that was answered, doubles it, up to that; one that comes later ends that. Longer would let orders wait that come
/// close after one another, shorter would answer rings that the API does not send: it waits as long between two.
const REST_MIN: Duration = Duration::from_millis(5);

/// How long it gets when rings come on and on: then orders are claimed many at once, as often as by looking alone. Anybody who
/// reaches the port can ring, and this is all that they can make a worker ask: 20 claims a second. Longer would let orders
/// wait for more than the default time between two looks, shorter would make more and smaller commits under load.
const REST_MAX: Duration = Duration::from_millis(50);

/// Rings that are taken for one at most: more than the kernel keeps by default, so that a flood cannot hold up its reader.
const HEARD_MAX: usize = 1_000;

/// How long the way to the database is looked for. A name server that takes longer leaves this worker without a bell, and
/// must not keep it from its work.
const FOUND_WITHIN: Duration = Duration::from_secs(1);

/// Rung by the API when it has placed orders: a datagram, whatever it says. An idle worker then looks at once.
///
/// Nothing depends on it. A ring that is lost, or a bell that could not be hung, leaves the orders to the next look.
pub(crate) struct Bell {
    socket: Option<UdpSocket>,
    /// No ring is answered before then; the kernel keeps it until that time.
    answers_from: Instant,
    /// How long it rested before.
    rest: Duration,
    metrics: Arc<WorkerMetrics>,
}

impl Bell {
    /// Hangs the bell at this address, or at another port where that one is taken.
    pub(crate) async fn hang(listen: SocketAddr, metrics: Arc<WorkerMetrics>) -> Self {
        let bound = match UdpSocket::bind(listen).await {
            Ok(socket) => Ok(socket),
            Err(error) => {
                tracing::warn!(%error, %listen, "no bell at this address; trying another port");
                UdpSocket::bind((listen.ip(), 0)).await
            }
        };
        let socket = bound.inspect_err(|error| tracing::warn!(%error, "no bell; orders are found by looking")).ok();
        Self { socket, answers_from: Instant::now(), rest: REST_MIN, metrics }
    }

    /// Waits until somebody rings, or has done so since the last ring was answered. However many rang, that is one ring.
    pub(crate) async fn rung(&mut self) {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        // Longer words are cut.
        let mut word = [0];
        loop {
            sleep_until(self.answers_from).await;
            let has_waited = socket.try_recv(&mut word).is_ok();
            let is_heard = has_waited || socket.recv(&mut word).await.is_ok();
            let now = Instant::now();
            // So much later than the last answer it is one of its own.
            let comes_soon = has_waited || now < self.answers_from + REST_MAX.saturating_sub(self.rest);
            self.rest = if comes_soon { (self.rest * 2).min(REST_MAX) } else { REST_MIN };
            self.answers_from = now + self.rest;
            if is_heard {
                break;
            }
        }
        // Whoever rang before now has placed the orders that the coming look finds.
        for _ in 1..HEARD_MAX {
            if socket.try_recv(&mut word).is_err() {
                break;
            }
        }
        self.metrics.rings.inc();
    }

    /// What the API needs to know of it.
    pub(crate) fn door(&self, database: (String, u16)) -> Door {
        Door { listens: self.socket.as_ref().and_then(|socket| socket.local_addr().ok()), database }
    }
}

/// Where the bell of this worker hangs, and the database by the way to which this machine's address is known.
#[derive(Debug)]
pub(crate) struct Door {
    listens: Option<SocketAddr>,
    database: (String, u16),
}

impl Door {
    /// The address under which others reach the bell: the one that it listens on or, where that is every address of the
    /// machine, the one from which this machine reaches the database, where the API is at home too.
    pub(crate) async fn address(&self) -> Option<SocketAddr> {
        let listens = self.listens?;
        if !listens.ip().is_unspecified() {
            return Some(listens);
        }
        let ip = timeout(FOUND_WITHIN, self.own_ip(listens.ip())).await.ok().flatten()?;
        Some(SocketAddr::new(ip, listens.port()))
    }

    /// The address from which this machine reaches the database, if it is of a kind on which the bell listens.
    async fn own_ip(&self, listens: IpAddr) -> Option<IpAddr> {
        let (host, port) = &self.database;
        for database in lookup_host((host.as_str(), *port)).await.ok()? {
            let any = if database.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
            if listens.is_ipv4() && any.is_ipv6() {
                continue;
            }
            // Connecting sends nothing: it asks the kernel for the way.
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

    async fn bell(listen: SocketAddr) -> Result<Bell, prometheus::Error> {
        let metrics = WorkerMetrics::register(&prometheus::Registry::new(), 1)?;
        Ok(Bell::hang(listen, Arc::new(metrics)).await)
    }

    fn database() -> (String, u16) {
        ("127.0.0.1".to_owned(), 3306)
    }

    #[tokio::test]
    async fn a_bell_that_listens_everywhere_is_known_by_the_way_to_the_database()
    -> Result<(), Box<dyn std::error::Error>> {
        for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
            let door = bell((any, 0).into()).await?.door(database());
            // Not every machine has addresses of both kinds.
            let Some(listens) = door.listens else { continue };

            let address = door.address().await;

            assert_eq!(address, Some((Ipv4Addr::LOCALHOST, listens.port()).into()));
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_bell_that_listens_on_one_address_is_known_by_that() -> Result<(), Box<dyn std::error::Error>> {
        let door = bell((Ipv4Addr::LOCALHOST, 0).into()).await?.door(("nobody.invalid".to_owned(), 3306));

        let address = door.address().await;

        assert!(address.is_some());
        assert_eq!(address, door.listens);
        Ok(())
    }

    #[tokio::test]
    async fn where_its_port_is_taken_a_bell_has_another() -> Result<(), Box<dyn std::error::Error>> {
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let taken = other.local_addr()?;

        let address = bell(taken).await?.door(database()).address().await;

        let own = address.ok_or("no bell")?;
        assert_eq!(own.ip(), taken.ip());
        assert_ne!(own.port(), taken.port());
        Ok(())
    }

    #[tokio::test]
    async fn without_a_way_to_the_database_a_bell_that_listens_everywhere_is_not_known()
    -> Result<(), Box<dyn std::error::Error>> {
        let bell = bell((Ipv4Addr::UNSPECIFIED, 0).into()).await?;

        let address = bell.door(("::1".to_owned(), 3306)).address().await;

        assert_eq!(address, None);
        Ok(())
    }

    #[tokio::test]
    async fn many_rings_are_one_and_the_next_is_heard_after_a_while() -> Result<(), Box<dyn std::error::Error>> {
        let mut bell = bell((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let listens = bell.door(database()).listens.ok_or("no bell")?;
        let api = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        for _ in 0..100 {
            api.send_to(b"", listens).await?;
        }

        let start = Instant::now();
        bell.rung().await;
        api.send_to(&[0; 9_000], listens).await?;
        bell.rung().await;

        assert!(start.elapsed() >= REST_MIN, "{:?}", start.elapsed());
        assert_eq!(bell.metrics.rings.get(), 2);
        let third = timeout(REST_MAX * 2, bell.rung()).await;
        assert!(third.is_err(), "nobody rang");
        Ok(())
    }

    #[tokio::test]
    async fn rings_that_come_one_by_one_without_an_end_are_answered_20_times_a_second()
    -> Result<(), Box<dyn std::error::Error>> {
        let mut bell = bell((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let listens = bell.door(database()).listens.ok_or("no bell")?;
        let api = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let ringing = async {
            // Each comes when the least rest is over.
            for _ in 0..100 {
                api.send_to(b"", listens).await?;
                tokio::time::sleep(REST_MIN + Duration::from_millis(2)).await;
            }
            Ok::<_, std::io::Error>(())
        };

        let start = Instant::now();
        tokio::select! {
            rung = ringing => rung?,
            () = async { loop { bell.rung().await } } => {}
        }

        // The first ones, while the rest grows, and one for each full rest.
        let most = 8 + start.elapsed().as_millis() / REST_MAX.as_millis();
        assert!(u128::from(bell.metrics.rings.get()) <= most, "{} in {:?}", bell.metrics.rings.get(), start.elapsed());
        Ok(())
    }
}
