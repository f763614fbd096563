//! Counts the connections of each client address, so that none can take them all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The largest share of all connections that one address may have. A smaller one would turn away clients behind one
/// proxy while there is room; a larger one would let one stranger shut out everyone else.
const SHARE_OF_ONE: (usize, usize) = (3, 4);

#[derive(Clone, Debug)]
pub(super) struct Addresses {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    max: usize,
}

/// A connection of an address, counted until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    /// For a server with room for this many connections.
    pub(super) fn sharing(connections: usize) -> Self {
        let (part, of) = SHARE_OF_ONE;
        Self { counts: Arc::default(), max: (connections * part / of).max(1) }
    }

    /// Counts one more connection of this address; `None` if it has its full share.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Counted> {
        let address = network_of(address);
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Counted { addresses: self.clone(), address })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// An IPv6 host may have 2^64 addresses (RFC 4291, section 2.5.1), which count as one.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_its_share_and_leaves_the_rest_to_others() {
        let addresses = Addresses::sharing(4);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse::<IpAddr>().unwrap());
        let mut of_one: Vec<_> = (0..3).map(|_| addresses.enter(one).unwrap()).collect();

        assert!(addresses.enter(one).is_none());
        assert!(addresses.enter(other).is_some());
        of_one.pop();
        assert!(addresses.enter(one).is_some());
        drop(of_one);

        assert!(addresses.counts().is_empty(), "no address is kept");
    }

    #[test]
    fn the_addresses_of_one_network_of_ipv6_are_one() {
        let of = |text: &str| network_of(text.parse().unwrap());

        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
