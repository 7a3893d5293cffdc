//! From a packet's bytes to what the statistics want to know of it, and to where its headers end.
//!
//! Owns header parsing from the link layer to the innermost ports. Pure; never panics, whatever the bytes, and takes
//! nothing for a header that does not look like one. Addresses are kept as 128 bits, IPv4 as IPv4-mapped, so that one
//! key serves both.

mod fragments;
mod link;
mod options;
#[cfg(test)]
mod tests;
mod tunnel;
mod wireless;

pub use fragments::Fragments;
pub use link::Link;
use nodewatch_protocol::{Content, Transport, Tunnel};
use tunnel::{mpls, ppp, pppoe};

/// The classes of the protocol mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP of IPv4.
    Icmp,
    /// ICMP of IPv6.
    Icmp6,
    /// ARP.
    Arp,
    /// Anything else in IPv4.
    Ip4Other,
    /// Anything else in IPv6.
    Ip6Other,
    /// Anything else.
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
    /// What IP carries.
    pub transport: Transport,
    /// Where it comes from.
    pub source: u128,
    /// Where it goes.
    pub destination: u128,
    /// 0 where there is none.
    pub source_port: u16,
    /// 0 where there is none.
    pub destination_port: u16,
}

/// A piece of an IP packet that came in several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// The same for all pieces of one packet.
    pub key: u64,
    /// The one that carries ports.
    pub first: bool,
}

/// What the headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    /// What it is.
    pub class: Class,
    /// Of the innermost packet.
    pub tuple: Option<Tuple>,
    /// Bytes from the link layer to the end of the innermost transport layer's header; may be more than were captured.
    pub length: usize,
    /// The outermost tunnel that it came in.
    pub tunnel: Option<Tunnel>,
    /// Where it is only a piece of a packet.
    pub fragment: Option<Fragment>,
    /// Where details are read from.
    pub place: Place,
}

/// Where the innermost packet's parts are, in bytes from the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Its IP header, or that of ARP.
    pub network: u32,
    /// Its transport header; 0 where there is none to be read.
    pub transport: u32,
    /// Its end by its own IP header, which may be behind what was captured; 0 where that does not say.
    pub end: u32,
}

impl Headers {
    /// A packet of which only the link layer is understood.
    fn of_link(length: usize) -> Self {
        Self { class: Class::Other, tuple: None, length, tunnel: None, fragment: None, place: Place::default() }
    }

    /// From or to a port of DNS or multicast DNS.
    pub fn are_dns(&self) -> bool {
        let of = |tuple: &Tuple| {
            [tuple.source_port, tuple.destination_port].into_iter().any(|port| matches!(port, 53 | 5353))
        };
        self.tuple.as_ref().is_some_and(of)
    }

    /// The same packet with what was found in it.
    fn around(self, inner: Option<Self>) -> Self {
        match inner {
            None => self,
            Some(inner) if inner.class == Class::Other => Self { length: inner.length, ..self },
            Some(inner) => Self { fragment: self.fragment.or(inner.fragment), ..inner },
        }
    }
}

/// How many bytes of a packet are kept.
#[inline]
pub fn kept(content: Content, headers: &Headers, captured: usize) -> usize {
    match content {
        Content::Full => captured,
        Content::Dns if headers.are_dns() => captured,
        Content::Dns | Content::Headers => headers.length.min(captured),
    }
}

/// Reads a packet as far as its captured bytes go.
#[inline]
pub fn headers(link: Link, bytes: &[u8]) -> Headers {
    match plain(bytes) {
        Some(headers) if link == Link::Ethernet => headers,
        _ => link::read(link, bytes),
    }
}

/// What most packets are: UDP in no tunnel, or TCP with no options or with timestamps, in IPv4 in Ethernet, whole. It says
/// what reading layer by layer would, sooner.
#[inline]
fn plain(bytes: &[u8]) -> Option<Headers> {
    const ENDS: usize = 14 + 20;
    let frame = bytes.first_chunk::<{ ENDS + 8 }>()?;
    let whole = frame[20] & 0x3F == 0 && frame[21] == 0;
    if frame[12] != 8 || frame[13] != 0 || frame[14] != 0x45 || !whole {
        return None;
    }
    let (class, transport, header) = match frame[23] {
        6 => (Class::Tcp, Transport::Tcp, plain_tcp(bytes.get(ENDS..)?)?),
        17 if !may_be_tunnel(u16::from_be_bytes([frame[ENDS + 2], frame[ENDS + 3]])) => (Class::Udp, Transport::Udp, 8),
        _ => return None,
    };
    let total = u16::from_be_bytes([frame[16], frame[17]]);
    if usize::from(total) < 20 + header {
        return None;
    }
    let tuple = Tuple {
        transport,
        source: mapped([frame[26], frame[27], frame[28], frame[29]]),
        destination: mapped([frame[30], frame[31], frame[32], frame[33]]),
        source_port: u16::from_be_bytes([frame[ENDS], frame[ENDS + 1]]),
        destination_port: u16::from_be_bytes([frame[ENDS + 2], frame[ENDS + 3]]),
    };
    let place = Place { network: 14, transport: ENDS as u32, end: 14 + u32::from(total) };
    Some(Headers { class, tuple: Some(tuple), length: ENDS + header, tunnel: None, fragment: None, place })
}

/// How long a header of TCP is that has no options or timestamps.
#[inline]
fn plain_tcp(segment: &[u8]) -> Option<usize> {
    let fixed = segment.first_chunk::<20>()?;
    match fixed[12] >> 4 {
        0..=5 => Some(20),
        8 if segment.get(20..32)?.starts_with(&[1, 1, 8, 10]) => Some(32),
        _ => None,
    }
}

/// The ports of VXLAN and Geneve.
#[inline]
fn may_be_tunnel(port: u16) -> bool {
    matches!(port, 4789 | 4790 | 6081 | 8472)
}

/// What an Ethernet type says comes at `at`.
#[inline]
fn network(kind: u16, bytes: &[u8], at: usize, depth: u8) -> Headers {
    match kind {
        0x0800 => ip4(bytes, at, depth),
        0x86DD => ip6(bytes, at, depth),
        _ => less_common(kind, bytes, at, depth),
    }
}

#[inline(never)]
fn less_common(mut kind: u16, bytes: &[u8], mut at: usize, depth: u8) -> Headers {
    // VLAN tags around each other.
    for _ in 0..8 {
        if !matches!(kind, 0x8100 | 0x88A8 | 0x9100 | 0x9200) {
            break;
        }
        let Some(next) = u16_at(bytes, at + 2) else { return Headers::of_link(at) };
        kind = next;
        at += 4;
    }
    let only = Headers::of_link(at);
    match kind {
        0x0800 => ip4(bytes, at, depth),
        0x86DD => ip6(bytes, at, depth),
        0x0806 => {
            let place = Place { network: at as u32, ..Place::default() };
            Headers { class: Class::Arp, length: at + arp(bytes, at), place, ..only }
        }
        0x8847 | 0x8848 => mpls(bytes, at, depth).unwrap_or(only),
        0x8864 => pppoe(bytes, at, depth).unwrap_or(only),
        _ => only,
    }
}

/// Hardware and protocol addresses, of Ethernet or InfiniBand, and of IPv4; what is not that is not ARP.
fn arp(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at..at + 8) {
        Some([0, 1 | 6, 8, 0, 6, 4, 0, 1..=25]) => 28,
        Some([0, 32, 8, 0, 20, 4, 0, 1..=25]) => 56,
        _ => 0,
    }
}

/// An IP packet of the version that its first half byte says.
fn raw_ip(bytes: &[u8], at: usize, depth: u8) -> Headers {
    match bytes.get(at).map(|byte| byte >> 4) {
        Some(4) => ip4(bytes, at, depth),
        Some(6) => ip6(bytes, at, depth),
        _ => Headers::of_link(at),
    }
}

/// Where an IP header begins of which not all was captured.
fn cut(bytes: &[u8], at: usize, version: u8) -> Headers {
    let begins = bytes.get(at).is_some_and(|byte| byte >> 4 == version);
    Headers::of_link(if begins { bytes.len() } else { at })
}

#[inline]
fn ip4(bytes: &[u8], at: usize, depth: u8) -> Headers {
    let Some(fixed) = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<20>()) else { return cut(bytes, at, 4) };
    let header = usize::from(fixed[0] & 0x0F) * 4;
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    // A length of 0 is that of a segment which the network card will cut up.
    if fixed[0] >> 4 != 4 || header < 20 || (total != 0 && total < header) {
        return Headers::of_link(at);
    }
    // What comes after the packet's own end is no part of it.
    let bytes = if total == 0 { bytes } else { &bytes[..bytes.len().min(at + total)] };
    let addresses =
        (mapped([fixed[12], fixed[13], fixed[14], fixed[15]]), mapped([fixed[16], fixed[17], fixed[18], fixed[19]]));
    let protocol = fixed[9];
    let end = at + header;
    let ip = Ip { bytes, at, end: if total == 0 { 0 } else { at + total }, depth };
    if header > 20 {
        let options = bytes.get(at + 20..end.min(bytes.len())).unwrap_or_default();
        let legal = options::ip4(options);
        if legal < header - 20 {
            return transport(protocol, Class::Ip4Other, addresses, ip, Err(at + 20 + legal));
        }
    }
    let fragment = u16::from_be_bytes([fixed[6], fixed[7]]);
    if fragment & 0x3FFF != 0 {
        let first = fragment & 0x1FFF == 0;
        let id = u32::from(u16::from_be_bytes([fixed[4], fixed[5]]));
        let read = transport(protocol, Class::Ip4Other, addresses, ip, if first { Ok(end) } else { Err(end) });
        return Headers { fragment: Some(Fragment { key: fragments::key(addresses, id, protocol), first }), ..read };
    }
    if protocol == 51 {
        let (protocol, payload, _) = extensions(protocol, bytes, end);
        return transport(protocol, Class::Ip4Other, addresses, ip, payload);
    }
    transport(protocol, Class::Ip4Other, addresses, ip, Ok(end))
}

#[inline]
fn ip6(bytes: &[u8], at: usize, depth: u8) -> Headers {
    let Some(fixed) = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<40>()) else { return cut(bytes, at, 6) };
    if fixed[0] >> 4 != 6 {
        return Headers::of_link(at);
    }
    let mut source = [0; 16];
    let mut destination = [0; 16];
    source.copy_from_slice(&fixed[8..24]);
    destination.copy_from_slice(&fixed[24..40]);
    let addresses = (u128::from_be_bytes(source), u128::from_be_bytes(destination));
    // A length of 0 is that of a jumbogram, or of a segment which the network card will cut up.
    let length = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let bytes = if length == 0 { bytes } else { &bytes[..bytes.len().min(at + 40 + length)] };
    let ip = Ip { bytes, at, end: if length == 0 { 0 } else { at + 40 + length }, depth };
    if matches!(fixed[6], 6 | 17) {
        return transport(fixed[6], Class::Ip6Other, addresses, ip, Ok(at + 40));
    }
    let (protocol, payload, fragment) = extensions(fixed[6], bytes, at + 40);
    let read = transport(protocol, Class::Ip6Other, addresses, ip, payload);
    let whole = fragment.map(|(id, first)| Fragment { key: fragments::key(addresses, id, 0), first });
    Headers { fragment: whole.or(read.fragment), ..read }
}

/// What follows IPv6's extension headers; where it begins, or, as an error, where the headers end that could be read; and
/// the packet's number where this is a piece of it, and whether the first.
type Extensions = (u8, Result<usize, usize>, Option<(u32, bool)>);

/// Passes over extension headers.
#[inline(never)]
fn extensions(mut next: u8, bytes: &[u8], mut at: usize) -> Extensions {
    let mut fragment = None;
    // A chain longer than this is no traffic that has ports to show.
    for _ in 0..8 {
        if !matches!(next, 0 | 43 | 44 | 51 | 60) {
            return (next, Ok(at), fragment);
        }
        let Some(&[following, units]) = bytes.get(at..at + 2) else { return (next, Err(at), fragment) };
        let length = match next {
            44 => 8,
            51 => (usize::from(units) + 2) * 4,
            _ => (usize::from(units) + 1) * 8,
        };
        let Some(header) = bytes.get(at..at + length) else { return (next, Err(at), fragment) };
        let legal = match next {
            0 | 60 if options::are_ip6(&header[2..]) => length,
            43 => options::routing(header, length),
            // A checksum of 512 bits is the longest.
            51 if (12..=84).contains(&length) => length,
            44 => length,
            _ => 0,
        };
        if legal < length {
            return (next, Err(at + legal), fragment);
        }
        if next == 44 {
            let place = u16::from_be_bytes([header[2], header[3]]);
            let first = place & 0xFFF8 == 0;
            // A packet in one piece may have this header too.
            if place & 0xFFF9 != 0 {
                fragment = Some((u32::from_be_bytes([header[4], header[5], header[6], header[7]]), first));
            }
            if !first {
                return (following, Err(at + length), fragment);
            }
        }
        next = following;
        at += length;
    }
    (next, Err(at), fragment)
}

/// An IP packet that is being read.
#[derive(Clone, Copy)]
struct Ip<'a> {
    /// All bytes up to its end.
    bytes: &'a [u8],
    /// Where it begins.
    at: usize,
    /// Where it ends, as it says.
    end: usize,
    depth: u8,
}

/// `payload` is where the transport header begins, or, where there is none, where the IP headers end.
#[inline]
fn transport(
    protocol: u8,
    other: Class,
    (source, destination): (u128, u128),
    ip: Ip<'_>,
    payload: Result<usize, usize>,
) -> Headers {
    let Ip { bytes, depth, .. } = ip;
    let place = Place { network: ip.at as u32, transport: payload.map_or(0, |at| at as u32), end: ip.end as u32 };
    let (class, transport) = match protocol {
        6 => (Class::Tcp, Transport::Tcp),
        17 => (Class::Udp, Transport::Udp),
        1 => (Class::Icmp, Transport::Ip(1)),
        58 => (Class::Icmp6, Transport::Ip(58)),
        number => (other, Transport::Ip(number)),
    };
    let whole = |length: usize, (source_port, destination_port): (u16, u16)| Headers {
        class,
        tuple: Some(Tuple { transport, source, destination, source_port, destination_port }),
        length: length.min(bytes.len()),
        tunnel: None,
        fragment: None,
        place,
    };
    let at = match payload {
        Ok(at) => at,
        Err(end) => return whole(end, (0, 0)),
    };
    let segment = bytes.get(at..).unwrap_or_default();
    let ports = || {
        segment
            .first_chunk::<4>()
            .map_or((0, 0), |p| (u16::from_be_bytes([p[0], p[1]]), u16::from_be_bytes([p[2], p[3]])))
    };
    match protocol {
        6 => whole(at + tcp(segment), ports()),
        17 => {
            let ports = ports();
            let outer = whole(at + 8, ports);
            if may_be_tunnel(ports.1) {
                return outer.around(tunnel::udp(ports.1, up_to_udps_end(bytes, at), at + 8, depth));
            }
            outer
        }
        4 | 41 | 47 | 97 | 137 => whole(at, (0, 0)).around(tunnel::ip(protocol, bytes, at, depth)),
        _ => whole(at + control(protocol, bytes, at, depth), (0, 0)),
    }
}

/// The data offset says how long it is, options included.
#[inline]
fn tcp(segment: &[u8]) -> usize {
    let header = segment.get(12).map_or(20, |offset| usize::from(offset >> 4) * 4);
    if header <= 20 { 20 } else { 20 + options::tcp(segment.get(20..header.min(segment.len())).unwrap_or_default()) }
}

fn up_to_udps_end(bytes: &[u8], at: usize) -> &[u8] {
    match u16_at(bytes, at + 4).map(usize::from) {
        Some(length) if length >= 8 => &bytes[..bytes.len().min(at + length)],
        _ => bytes,
    }
}

/// How long the header of a protocol without ports that are told is.
#[inline(never)]
fn control(protocol: u8, bytes: &[u8], at: usize, depth: u8) -> usize {
    let segment = bytes.get(at..).unwrap_or_default();
    // An error carries the headers of the packet that it is about: that is what makes it worth having.
    let quoted = |at_quoted: usize, read: fn(&[u8], usize, u8) -> Headers| {
        if depth >= tunnel::DEEPEST { at_quoted } else { read(bytes, at_quoted, depth + 1).length.max(at_quoted) }
    };
    match (protocol, segment.first()) {
        (1, Some(3 | 4 | 5 | 11 | 12)) => quoted(at + 8, ip4) - at,
        (58, Some(1..=4)) => quoted(at + 8, ip6) - at,
        (58, Some(133..=137)) => {
            let (end, redirected) = options::neighbour_discovery(bytes, at);
            redirected.map_or(end, |at| quoted(at, ip6)) - at
        }
        // Membership of groups in its three versions; ESP's numbers, after which all is encrypted; UDP-Lite.
        (1 | 58 | 50 | 136, _) | (2, Some(0x11 | 0x12 | 0x16 | 0x17 | 0x22)) => 8,
        (33, _) => {
            if segment.get(8).is_some_and(|byte| byte & 1 != 0) {
                16
            } else {
                12
            }
        }
        (132, _) => 12,
        _ => 0,
    }
}

#[inline]
fn mapped(address: [u8; 4]) -> u128 {
    0xFFFF_0000_0000 | u128::from(u32::from_be_bytes(address))
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}
