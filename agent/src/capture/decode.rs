//! From a packet's bytes to what the statistics want to know of it.
//!
//! Owns header parsing from the link layer to ports. Pure; never panics, whatever the bytes. Addresses are kept as
//! 128 bits, IPv4 as IPv4-mapped, so that one key serves both.

use nodewatch_protocol::{Content, Transport};

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
    /// Bytes from the link layer to the end of the transport layer's header; may be more than were captured.
    pub length: usize,
}

/// A packet of which only the link layer is understood.
fn other(length: usize) -> Headers {
    Headers { class: Class::Other, tuple: None, length }
}

/// How many bytes of a packet are kept.
#[inline]
pub fn kept(content: Content, headers: &Headers, captured: usize) -> usize {
    let names =
        |tuple: &Tuple| [tuple.source_port, tuple.destination_port].into_iter().any(|port| matches!(port, 53 | 5353));
    match content {
        Content::Full => captured,
        Content::Dns if headers.tuple.as_ref().is_some_and(names) => captured,
        Content::Dns | Content::Headers => headers.length.min(captured),
    }
}

/// Reads a packet as far as its captured bytes go.
#[inline]
pub fn headers(link: Link, bytes: &[u8]) -> Headers {
    match link {
        Link::Ethernet => ethernet(bytes),
        Link::Raw => match bytes.first().map(|byte| byte >> 4) {
            Some(4) => ip4(bytes, 0),
            Some(6) => ip6(bytes, 0),
            _ => other(0),
        },
    }
}

#[inline]
fn ethernet(bytes: &[u8]) -> Headers {
    let mut at = 12;
    // Two tags at most: 802.1ad around 802.1Q.
    for _ in 0..3 {
        let Some(kind) = u16_at(bytes, at) else { return other(at) };
        at += 2;
        match kind {
            0x0800 => return ip4(bytes, at),
            0x86DD => return ip6(bytes, at),
            // Hardware and protocol addresses, for Ethernet and IPv4 as good as always.
            0x0806 => return Headers { class: Class::Arp, tuple: None, length: at + 28 },
            0x8100 | 0x88A8 => at += 2,
            _ => return other(at),
        }
    }
    other(at)
}

#[inline]
fn ip4(bytes: &[u8], at: usize) -> Headers {
    let Some(fixed) = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<20>()) else { return other(at + 20) };
    let header = usize::from(fixed[0] & 0x0F) * 4;
    let protocol = fixed[9];
    // Only the first fragment carries ports.
    let first_fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1FFF == 0;
    let end = at + header.max(20);
    let payload = (first_fragment && header >= 20).then_some(end);
    let source = mapped([fixed[12], fixed[13], fixed[14], fixed[15]]);
    let destination = mapped([fixed[16], fixed[17], fixed[18], fixed[19]]);
    transport(protocol, Class::Ip4Other, (source, destination), bytes, payload.ok_or(end))
}

#[inline]
fn ip6(bytes: &[u8], at: usize) -> Headers {
    let Some(fixed) = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<40>()) else { return other(at + 40) };
    let mut source = [0; 16];
    let mut destination = [0; 16];
    source.copy_from_slice(&fixed[8..24]);
    destination.copy_from_slice(&fixed[24..40]);
    let (protocol, payload) = skip_extensions(fixed[6], bytes, at + 40);
    let addresses = (u128::from_be_bytes(source), u128::from_be_bytes(destination));
    transport(protocol, Class::Ip6Other, addresses, bytes, payload)
}

/// Passes over IPv6 extension headers; `Err` has where the headers end that could be read, where no transport header
/// follows.
fn skip_extensions(mut next: u8, bytes: &[u8], mut at: usize) -> (u8, Result<usize, usize>) {
    // A chain longer than this is no traffic that has ports to show.
    for _ in 0..8 {
        let length = match next {
            0 | 43 | 60 => bytes.get(at + 1).map(|&units| (usize::from(units) + 1) * 8),
            51 => bytes.get(at + 1).map(|&units| (usize::from(units) + 2) * 4),
            44 => match u16_at(bytes, at + 2) {
                Some(offset) if offset & 0xFFF8 == 0 => Some(8),
                _ => return (bytes.get(at).copied().unwrap_or(next), Err(at + 8)),
            },
            _ => return (next, Ok(at)),
        };
        let (Some(length), Some(&following)) = (length, bytes.get(at)) else { return (next, Err(at)) };
        next = following;
        at += length;
    }
    (next, Err(at))
}

/// `payload` is where the transport header begins, or, where there is none, where the IP headers end.
#[inline]
fn transport(
    protocol: u8,
    other: Class,
    (source, destination): (u128, u128),
    bytes: &[u8],
    payload: Result<usize, usize>,
) -> Headers {
    let (class, transport) = match protocol {
        6 => (Class::Tcp, Transport::Tcp),
        17 => (Class::Udp, Transport::Udp),
        1 => (Class::Icmp, Transport::Ip(1)),
        58 => (Class::Icmp6, Transport::Ip(58)),
        number => (other, Transport::Ip(number)),
    };
    let segment = payload.ok().and_then(|at| bytes.get(at..));
    let ports = match (transport, segment) {
        (Transport::Tcp | Transport::Udp, Some(segment)) => segment.first_chunk::<4>(),
        _ => None,
    };
    let (source_port, destination_port) =
        ports.map_or((0, 0), |p| (u16::from_be_bytes([p[0], p[1]]), u16::from_be_bytes([p[2], p[3]])));
    let length = match payload {
        Err(end) => end,
        Ok(at) => at + transport_header(protocol, segment.unwrap_or_default()),
    };
    Headers { class, tuple: Some(Tuple { transport, source, destination, source_port, destination_port }), length }
}

/// How long the header of that protocol is.
#[inline]
fn transport_header(protocol: u8, segment: &[u8]) -> usize {
    match protocol {
        // The data offset, options included.
        6 => segment.get(12).map_or(20, |offset| usize::from(offset >> 4).max(5) * 4),
        17 => 8,
        // An error carries the headers of the packet that it is about: that is what makes it worth having.
        1 => match segment.first() {
            Some(3 | 4 | 5 | 11 | 12) => 8 + quoted(ip4(segment, 8), segment),
            _ => 8,
        },
        58 => match segment.first() {
            Some(1..=4) => 8 + quoted(ip6(segment, 8), segment),
            // Neighbour discovery: one address, and options that hold hardware addresses.
            Some(133..=137) => segment.len().min(128),
            _ => 8,
        },
        132 => 12,
        _ => 0,
    }
}

/// The quoted packet's headers within an ICMP error, without what is before them.
fn quoted(headers: Headers, segment: &[u8]) -> usize {
    headers.length.min(segment.len()).saturating_sub(8)
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

    /// What is kept of a packet with that many bytes of headers and a payload behind them.
    fn kept_of(packet: &[u8], content: Content) -> usize {
        let bytes = frame(&[8, 0], packet);
        kept(content, &headers(Link::Ethernet, &bytes), bytes.len())
    }

    #[test]
    fn headers_end_where_the_transport_layers_does() {
        let mut tcp = [0; 60];
        tcp[12] = 8 << 4;
        let udp = [&PORTS[..], &[0; 40]].concat();
        assert_eq!(kept_of(&ip4_packet(6, [0, 0], &tcp), Content::Headers), 14 + 20 + 32);
        assert_eq!(kept_of(&ip4_packet(17, [0, 0], &udp), Content::Headers), 14 + 20 + 8);
        assert_eq!(kept_of(&ip4_packet(17, [0, 9], &udp), Content::Headers), 14 + 20, "a later fragment");
        assert_eq!(kept_of(&ip4_packet(99, [0, 0], &[7; 40]), Content::Headers), 14 + 20);
        // An ICMP error with the headers, and no payload, of the packet that it is about.
        let error = [&[3, 1, 0, 0, 0, 0, 0, 0], ip4_packet(17, [0, 0], &udp).as_slice()].concat();
        assert_eq!(kept_of(&ip4_packet(1, [0, 0], &error), Content::Headers), 14 + 20 + 8 + 20 + 8);
        assert_eq!(kept_of(&ip4_packet(1, [0, 0], &[&[8, 0], &[7; 60][..]].concat()), Content::Headers), 14 + 20 + 8);
        let lldp = frame(&[0x88, 0xCC], &[7; 50]);
        assert_eq!(kept(Content::Headers, &headers(Link::Ethernet, &lldp), lldp.len()), 14);
    }

    #[test]
    fn names_are_kept_whole_where_they_are_asked_for() {
        let dns = ip4_packet(17, [0, 0], &[&PORTS[..], &[0; 40]].concat());
        let web = ip4_packet(17, [0, 0], &[&[0x1F, 0x90, 1, 187][..], &[0; 40]].concat());
        assert_eq!(kept_of(&dns, Content::Dns), 14 + 20 + 44);
        assert_eq!(kept_of(&web, Content::Dns), 14 + 20 + 8);
        assert_eq!(kept_of(&web, Content::Full), 14 + 20 + 44);
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
