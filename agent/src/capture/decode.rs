//! From a packet's bytes to what the statistics want to know of it.
//!
//! Owns header parsing from the link layer to ports. Pure; never panics, whatever the bytes. Addresses are kept as
//! 128 bits, IPv4 as IPv4-mapped, so that one key serves both.

use nodewatch_protocol::Transport;

/// How an interface's packets begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// LINKTYPE_ETHERNET (1), loopback included.
    Ethernet,
    /// LINKTYPE_RAW (101): straight at the IP header.
    Raw,
}

impl Link {
    /// The link type of that LINKTYPE_/DLT_ number, where this program can read it.
    pub fn from_number(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::Ethernet),
            // libpcap's DLT_RAW is 12 on Linux.
            12 | 101 => Some(Self::Raw),
            _ => None,
        }
    }

    /// The number that a capture file carries.
    pub fn number(self) -> u16 {
        match self {
            Self::Ethernet => 1,
            Self::Raw => 101,
        }
    }
}

/// The classes of the protocol mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Tcp,
    Udp,
    Icmp,
    Icmp6,
    Arp,
    Ip4Other,
    Ip6Other,
    Other,
}

impl Class {
    /// Every class, in the order of their indices.
    pub const ALL: [Self; 8] =
        [Self::Tcp, Self::Udp, Self::Icmp, Self::Icmp6, Self::Arp, Self::Ip4Other, Self::Ip6Other, Self::Other];

    /// The name that people read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Icmp => "ICMP",
            Self::Icmp6 => "ICMPv6",
            Self::Arp => "ARP",
            Self::Ip4Other => "IPv4 other",
            Self::Ip6Other => "IPv6 other",
            Self::Other => "other",
        }
    }
}

/// Addresses, ports and protocol of an IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    pub transport: Transport,
    pub source: u128,
    pub destination: u128,
    pub source_port: u16,
    pub destination_port: u16,
}

/// What the headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    pub class: Class,
    pub tuple: Option<Tuple>,
}

const OTHER: Headers = Headers { class: Class::Other, tuple: None };

/// Reads a packet as far as its captured bytes go.
#[inline]
pub fn headers(link: Link, bytes: &[u8]) -> Headers {
    match link {
        Link::Ethernet => ethernet(bytes),
        Link::Raw => match bytes.first().map(|byte| byte >> 4) {
            Some(4) => ip4(bytes),
            Some(6) => ip6(bytes),
            _ => OTHER,
        },
    }
}

#[inline]
fn ethernet(bytes: &[u8]) -> Headers {
    let mut at = 12;
    // Two tags at most: 802.1ad around 802.1Q.
    for _ in 0..3 {
        let Some(kind) = u16_at(bytes, at) else { return OTHER };
        at += 2;
        match kind {
            0x0800 => return ip4(&bytes[at..]),
            0x86DD => return ip6(&bytes[at..]),
            0x0806 => return Headers { class: Class::Arp, tuple: None },
            0x8100 | 0x88A8 => at += 2,
            _ => return OTHER,
        }
    }
    OTHER
}

#[inline]
fn ip4(bytes: &[u8]) -> Headers {
    let Some(fixed) = bytes.first_chunk::<20>() else { return OTHER };
    let header = usize::from(fixed[0] & 0x0F) * 4;
    let protocol = fixed[9];
    // Only the first fragment carries ports.
    let first_fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1FFF == 0;
    let payload = if first_fragment && header >= 20 { bytes.get(header..) } else { None };
    let source = mapped([fixed[12], fixed[13], fixed[14], fixed[15]]);
    let destination = mapped([fixed[16], fixed[17], fixed[18], fixed[19]]);
    transport(protocol, Class::Ip4Other, source, destination, payload)
}

#[inline]
fn ip6(bytes: &[u8]) -> Headers {
    let Some(fixed) = bytes.first_chunk::<40>() else { return OTHER };
    let mut source = [0; 16];
    let mut destination = [0; 16];
    source.copy_from_slice(&fixed[8..24]);
    destination.copy_from_slice(&fixed[24..40]);
    let (protocol, payload) = skip_extensions(fixed[6], bytes);
    transport(protocol, Class::Ip6Other, u128::from_be_bytes(source), u128::from_be_bytes(destination), payload)
}

/// Passes over IPv6 extension headers; no payload where the headers go on beyond what was captured.
fn skip_extensions(mut next: u8, bytes: &[u8]) -> (u8, Option<&[u8]>) {
    let mut at = 40;
    // A chain longer than this is no traffic that has ports to show.
    for _ in 0..8 {
        let length = match next {
            0 | 43 | 60 => bytes.get(at + 1).map(|&units| (usize::from(units) + 1) * 8),
            51 => bytes.get(at + 1).map(|&units| (usize::from(units) + 2) * 4),
            44 => match u16_at(bytes, at + 2) {
                Some(offset) if offset & 0xFFF8 == 0 => Some(8),
                _ => return (bytes.get(at).copied().unwrap_or(next), None),
            },
            _ => return (next, bytes.get(at..)),
        };
        let (Some(length), Some(&following)) = (length, bytes.get(at)) else { return (next, None) };
        next = following;
        at += length;
    }
    (next, None)
}

#[inline]
fn transport(protocol: u8, other: Class, source: u128, destination: u128, payload: Option<&[u8]>) -> Headers {
    let (class, transport) = match protocol {
        6 => (Class::Tcp, Transport::Tcp),
        17 => (Class::Udp, Transport::Udp),
        1 => (Class::Icmp, Transport::Ip(1)),
        58 => (Class::Icmp6, Transport::Ip(58)),
        number => (other, Transport::Ip(number)),
    };
    let ports = match (transport, payload) {
        (Transport::Tcp | Transport::Udp, Some(payload)) => payload.first_chunk::<4>(),
        _ => None,
    };
    let (source_port, destination_port) =
        ports.map_or((0, 0), |p| (u16::from_be_bytes([p[0], p[1]]), u16::from_be_bytes([p[2], p[3]])));
    Headers { class, tuple: Some(Tuple { transport, source, destination, source_port, destination_port }) }
}

#[inline]
fn mapped(address: [u8; 4]) -> u128 {
    0xFFFF_0000_0000 | u128::from(u32::from_be_bytes(address))
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: &[u8], rest: &[u8]) -> Vec<u8> {
        [&[0; 12], kind, rest].concat()
    }

    fn ip4_packet(protocol: u8, fragment: [u8; 2], payload: &[u8]) -> Vec<u8> {
        let mut bytes =
            vec![0x45, 0, 0, 0, 0, 0, fragment[0], fragment[1], 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn ip6_packet(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 40];
        bytes[0] = 0x60;
        bytes[6] = next;
        bytes[23] = 1;
        bytes[39] = 2;
        bytes.extend_from_slice(payload);
        bytes
    }

    const PORTS: [u8; 4] = [0x1F, 0x90, 0, 53];

    #[test]
    fn ports_and_addresses_of_ipv4_under_a_vlan_tag() {
        let found = headers(Link::Ethernet, &frame(&[0x81, 0, 0, 5, 8, 0], &ip4_packet(17, [0, 0], &PORTS)));
        assert_eq!(found.class, Class::Udp);
        let tuple = found.tuple.expect("a tuple");
        assert_eq!((tuple.source_port, tuple.destination_port), (8080, 53));
        assert_eq!(tuple.source, 0xFFFF_0A00_0001);
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let found = headers(Link::Raw, &ip4_packet(6, [0, 9], &PORTS));
        assert_eq!(found.tuple.map(|tuple| tuple.source_port), Some(0));
    }

    #[test]
    fn extension_headers_of_ipv6_are_passed_over() {
        let hop_by_hop = [6, 0, 0, 0, 0, 0, 0, 0];
        let found = headers(Link::Raw, &ip6_packet(0, &[hop_by_hop.as_slice(), &PORTS].concat()));
        assert_eq!(found.class, Class::Tcp);
        assert_eq!(found.tuple.map(|tuple| (tuple.source_port, tuple.source)), Some((8080, 1)));
    }

    #[test]
    fn what_is_not_ip_is_named() {
        assert_eq!(headers(Link::Ethernet, &frame(&[8, 6], &[])).class, Class::Arp);
        assert_eq!(headers(Link::Ethernet, &frame(&[0x88, 0xCC], &[])).class, Class::Other);
        assert_eq!(headers(Link::Raw, &ip6_packet(58, &[])).class, Class::Icmp6);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), raw: bool) {
            headers(if raw { Link::Raw } else { Link::Ethernet }, &bytes);
        }

        #[test]
        fn a_cut_packet_is_read_without_a_panic(cut in 0usize..80, next: u8) {
            let bytes = frame(&[0x86, 0xDD], &ip6_packet(next, &[44, 0, 0, 0, 0, 0, 0, 0, 6, 1, 0, 0]));
            headers(Link::Ethernet, &bytes[..cut.min(bytes.len())]);
        }
    }
}
