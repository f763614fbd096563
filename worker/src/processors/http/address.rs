//! Which addresses orders may be sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address may not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Forbidden {
    #[error("it is unspecified")]
    Unspecified,
    #[error("it has many receivers")]
    ManyReceivers,
    #[error("it is link-local")]
    LinkLocal,
    #[error("it is where a cloud keeps its metadata")]
    Metadata,
}

/// Whether orders may be sent to this address. An address that carries another, as an IPv4-mapped one does, has to pass
/// as both.
///
/// Private and loopback addresses pass: the operator names the URL, and the service is often next door. The others are
/// no place for a service, but places where the resolver of a hijacked name could lead.
pub(crate) fn may_reach(address: IpAddr) -> Result<(), Forbidden> {
    match address {
        IpAddr::V4(address) => may_reach_v4(address),
        IpAddr::V6(address) => {
            may_reach_v6(address)?;
            carried_by(address).into_iter().try_for_each(may_reach_v4)
        }
    }
}

fn may_reach_v4(address: Ipv4Addr) -> Result<(), Forbidden> {
    match address.octets() {
        [0, ..] => Err(Forbidden::Unspecified),
        // That of most clouds, and those of Alibaba, Oracle and Azure, which are not link-local.
        [169, 254, 169, 254] | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => Err(Forbidden::Metadata),
        [169, 254, ..] => Err(Forbidden::LinkLocal),
        [224..=239, ..] | [255, 255, 255, 255] => Err(Forbidden::ManyReceivers),
        _ => Ok(()),
    }
}

/// Unique local addresses that Google and Oracle use.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)];

fn may_reach_v6(address: Ipv6Addr) -> Result<(), Forbidden> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Err(Forbidden::Unspecified),
        [0xff00..=0xffff, ..] => Err(Forbidden::ManyReceivers),
        [0xfe80..=0xfebf, ..] => Err(Forbidden::LinkLocal),
        // Of AWS: EC2's metadata (`::254`), the credentials of EKS pods (`::23`), and what may be added beside them.
        [0xfd00, 0xec2, ..] => Err(Forbidden::Metadata),
        _ if METADATA_V6.contains(&address) => Err(Forbidden::Metadata),
        _ => Ok(()),
    }
}

/// The IPv4 addresses to which a packet to this address may go in the end.
fn carried_by(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    match address.segments() {
        [0x64, 0xff9b, 1, ..] => carried_by_nat64_of_a_site(address),
        // Teredo (RFC 4380): the server, and the client with all its bits inverted.
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            vec![joined(high, low), joined(!client_high, !client_low)]
        }
        // IPv4-compatible and IPv4-mapped (RFC 4291), translated (RFC 2765), NAT64 (RFC 6052), 6to4 (RFC 3056), and
        // ISATAP behind any prefix (RFC 5214). The loopback address would be taken for 0.0.0.1.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low]
            if address != Ipv6Addr::LOCALHOST =>
        {
            vec![joined(high, low)]
        }
        _ => Vec::new(),
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

/// The same for `64:ff9b:1::/48` (RFC 8215), of which each site chooses its own part as the prefix: all layouts of RFC
/// 6052 that fit, from 48 to 96 bits. A wrong layout mostly reads the zeros of a prefix, or those at the end.
fn carried_by_nat64_of_a_site(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let [_, _, _, _, _, _, b6, b7, _, b9, b10, b11, b12, b13, b14, b15] = address.octets();
    let layouts = [[b6, b7, b9, b10], [b7, b9, b10, b11], [b9, b10, b11, b12], [b12, b13, b14, b15]];
    let mut carried: Vec<_> = layouts.into_iter().filter(|[first, ..]| *first != 0).map(Ipv4Addr::from).collect();
    if carried.is_empty() {
        carried.push(Ipv4Addr::UNSPECIFIED);
    }
    carried
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_judged_as_what_it_leads_to() {
        use Forbidden::*;
        for (address, verdict) in [
            ("127.0.0.1", Ok(())),
            ("10.0.0.1", Ok(())),
            ("172.16.0.1", Ok(())),
            ("192.168.0.1", Ok(())),
            ("100.64.0.1", Ok(())),
            ("93.184.216.34", Ok(())),
            ("223.255.255.255", Ok(())),
            ("240.0.0.1", Ok(())),
            ("0.0.0.0", Err(Unspecified)),
            ("0.1.2.3", Err(Unspecified)),
            ("169.254.169.254", Err(Metadata)),
            ("169.254.170.2", Err(LinkLocal)),
            ("169.253.255.255", Ok(())),
            ("100.100.100.200", Err(Metadata)),
            ("192.0.0.192", Err(Metadata)),
            ("168.63.129.16", Err(Metadata)),
            ("224.0.0.1", Err(ManyReceivers)),
            ("239.255.255.255", Err(ManyReceivers)),
            ("255.255.255.255", Err(ManyReceivers)),
            ("::1", Ok(())),
            ("fd00::1", Ok(())),
            ("2606:2800:220:1::1", Ok(())),
            ("::", Err(Unspecified)),
            ("fe80::1", Err(LinkLocal)),
            ("febf::1", Err(LinkLocal)),
            ("ff02::1", Err(ManyReceivers)),
            ("fd00:ec2::254", Err(Metadata)),
            ("fd00:ec2::23", Err(Metadata)),
            ("fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff", Err(Metadata)),
            ("fd00:ec1::254", Ok(())),
            ("fd00:ec3::254", Ok(())),
            ("fd20:ce::254", Err(Metadata)),
            ("fd00:c1::a9fe:a9fe", Err(Metadata)),
            // IPv4-compatible, IPv4-mapped and IPv4-translated.
            ("::169.254.169.254", Err(Metadata)),
            ("::2", Err(Unspecified)),
            ("::ffff:169.254.169.254", Err(Metadata)),
            ("::ffff:127.0.0.1", Ok(())),
            ("::ffff:0.0.0.0", Err(Unspecified)),
            ("::ffff:0:169.254.169.254", Err(Metadata)),
            // NAT64, of everybody and of a site.
            ("64:ff9b::169.254.169.254", Err(Metadata)),
            ("64:ff9b::93.184.216.34", Ok(())),
            ("64:ff9b:1::169.254.169.254", Err(Metadata)),
            ("64:ff9b:1:7:8:9:169.254.169.254", Err(Metadata)),
            ("64:ff9b:1:a9fe:a9:fe00::", Err(Metadata)),
            ("64:ff9b:1:7a9:fe:a9fe::", Err(Metadata)),
            ("64:ff9b:1:7:a9:fea9:fe00:0", Err(Metadata)),
            ("64:ff9b:1::93.184.216.34", Ok(())),
            ("64:ff9b:1::", Err(Unspecified)),
            // 6to4, Teredo by its server and by its client, ISATAP.
            ("2002:a9fe:a9fe::1", Err(Metadata)),
            ("2002:5db8:d822::1", Ok(())),
            ("2001:0:a9fe:a9fe:0:0:a247:27dd", Err(Metadata)),
            ("2001:0:5db8:d822:0:0:5601:5601", Err(Metadata)),
            ("2001:0:5db8:d822:0:0:a247:27dd", Ok(())),
            ("2001:db8::5efe:169.254.169.254", Err(Metadata)),
            ("2001:db8::200:5efe:169.254.169.254", Err(Metadata)),
        ] {
            assert_eq!(may_reach(address.parse().unwrap()), verdict, "{address}");
        }
    }
}
