//! A packet's headers, from the link layer to the transport layer, inside tunnels those of the packet that they carry.
//!
//! Owns what identifies a packet, and its payload; where the headers are is found by `nodewatch-analysis`. What is not whole
//! is not guessed.

use std::net::{IpAddr, Ipv6Addr};

use nodewatch_analysis::decode::{self, Link};
use nodewatch_protocol as protocol;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// What a packet's headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// What tells it from others of its sender; 0 where nothing does.
    pub id: u32,
    /// Where its fragment begins, in units of 8 bytes, and whether more follow.
    pub fragment: (u16, bool),
    /// IP's number for what it carries.
    pub protocol: u8,
    /// The header of that.
    pub transport: Transport,
    /// Bytes behind all headers, as these say.
    pub length: u32,
    /// As many of them as were captured.
    pub payload: &'a [u8],
    /// It came in a tunnel.
    pub tunneled: bool,
}

/// A transport's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp {
        /// From and to.
        ports: (u16, u16),
        /// The number of the first byte.
        sequence: u32,
        /// The next byte that is expected.
        acknowledged: u32,
        /// FIN and up, a bit each.
        flags: u8,
        /// As it is sent.
        window: u16,
    },
    /// UDP.
    Udp {
        /// From and to.
        ports: (u16, u16),
    },
    /// ICMP, of either kind.
    Icmp {
        /// Its type and code.
        kind: (u8, u8),
        /// What follows the checksum.
        rest: u32,
    },
    /// Anything else, a fragment without a header, or one that was not captured whole.
    Other,
}

/// What is read of an IP header.
struct Ip {
    id: u32,
    fragment: (u16, bool),
    /// Where it ends, with those that follow.
    end: usize,
}

impl<'a> Headers<'a> {
    /// Reads a packet that had so many bytes on the wire; `None` where it is no IP packet.
    pub fn of(link_type: u16, data: &'a [u8], wire_length: u32) -> Option<Self> {
        let read = decode::headers(Link::from_number(link_type), data);
        let tuple = read.tuple?;
        let network = read.place.network as usize;
        let ip = match data.get(network)? >> 4 {
            4 => v4(data, network)?,
            _ => v6(data, network)?,
        };
        let protocol = match tuple.transport {
            protocol::Transport::Tcp => TCP,
            protocol::Transport::Udp => UDP,
            protocol::Transport::Ip(number) => number,
        };
        // One that was too long for its field, as the sender's own network card gets it, does not say where it ends.
        let end = if read.place.end == 0 { wire_length } else { read.place.end };
        let begins =
            if ip.fragment.0 == 0 && read.place.transport > 0 { read.place.transport as usize } else { ip.end };
        let captured = up_to(data, begins, end as usize);
        let found = if ip.fragment.0 > 0 { None } else { transport(protocol, captured) };
        let (transport, header) = found.unwrap_or((Transport::Other, 0));
        Some(Self {
            source: Ipv6Addr::from_bits(tuple.source).to_canonical(),
            destination: Ipv6Addr::from_bits(tuple.destination).to_canonical(),
            id: ip.id,
            fragment: ip.fragment,
            protocol,
            transport,
            length: end.saturating_sub((begins + header) as u32),
            payload: captured.get(header..).unwrap_or(&data[data.len()..]),
            tunneled: read.tunnel.is_some(),
        })
    }

    /// The ports, where it has some.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.transport {
            Transport::Tcp { ports, .. } | Transport::Udp { ports } => Some(ports),
            Transport::Icmp { .. } | Transport::Other => None,
        }
    }
}

fn v4(data: &[u8], at: usize) -> Option<Ip> {
    let end = at + usize::from(data.get(at)? & 0xF) * 4;
    let fragment = half(data, at + 6)?;
    let id = half(data, at + 4)?.into();
    (data.len() >= end).then_some(Ip { id, fragment: (fragment & 0x1FFF, fragment & 0x2000 != 0), end })
}

/// With the headers between that and the transport's.
fn v6(data: &[u8], at: usize) -> Option<Ip> {
    let mut next = *data.get(at + 6)?;
    let mut ip = Ip { id: 0, fragment: (0, false), end: at + 40 };
    while let Some(&[following, length]) = data.get(ip.end..).and_then(<[u8]>::first_chunk::<2>) {
        let length = match next {
            0 | 43 | 60 => 8 + usize::from(length) * 8,
            51 => 8 + usize::from(length) * 4,
            44 => {
                let Some(rest) = data.get(ip.end + 2..).and_then(<[u8]>::first_chunk::<6>) else { break };
                let offset = u16::from_be_bytes([rest[0], rest[1]]);
                ip.fragment = (offset >> 3, offset & 1 != 0);
                ip.id = u32::from_be_bytes([rest[2], rest[3], rest[4], rest[5]]);
                8
            }
            _ => break,
        };
        (next, ip.end) = (following, ip.end + length);
        if ip.fragment.0 > 0 {
            break;
        }
    }
    Some(ip)
}

/// A header, and its length; `None` where it is none of those that are known, or not whole.
fn transport(protocol: u8, data: &[u8]) -> Option<(Transport, usize)> {
    match protocol {
        TCP => tcp(data),
        UDP => half(data, 0).zip(half(data, 2)).map(|ports| (Transport::Udp { ports }, 8)),
        ICMP | ICMPV6 => data.first_chunk::<8>().map(|&[kind, code, _, _, a, b, c, d]| {
            (Transport::Icmp { kind: (kind, code), rest: u32::from_be_bytes([a, b, c, d]) }, 8)
        }),
        _ => None,
    }
}

fn tcp(data: &[u8]) -> Option<(Transport, usize)> {
    let ports = (half(data, 0)?, half(data, 2)?);
    let (sequence, acknowledged) = (word(data, 4)?, word(data, 8)?);
    let (header, flags, window) = (usize::from(*data.get(12)? >> 4) * 4, *data.get(13)?, half(data, 14)?);
    (header >= 20).then_some((Transport::Tcp { ports, sequence, acknowledged, flags, window }, header))
}

/// Bytes from there up to where the headers say that the packet ends, as many as there are: behind it is padding.
fn up_to(data: &[u8], start: usize, end: usize) -> &[u8] {
    data.get(start..end.min(data.len())).unwrap_or(&data[data.len()..])
}

pub(super) fn half(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|&two| u16::from_be_bytes(two))
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|&four| u32::from_be_bytes(four))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An Ethernet packet of TCP from 10.0.0.A to 10.0.0.B, which says that it carries so many bytes.
    pub(crate) fn tcp_packet(
        (from, to): (u8, u8),
        ports: (u16, u16),
        id: u16,
        sequence: u32,
        flags: u8,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut data = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0, 0x45, 0];
        data.extend((40 + payload.len() as u16).to_be_bytes());
        data.extend(id.to_be_bytes());
        data.extend([0x40, 0, 64, 6, 0, 0, 10, 0, 0, from, 10, 0, 0, to]);
        data.extend(ports.0.to_be_bytes());
        data.extend(ports.1.to_be_bytes());
        data.extend(sequence.to_be_bytes());
        data.extend(7u32.to_be_bytes());
        data.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
        data.extend(payload);
        data
    }

    #[test]
    fn headers_are_read_also_inside_vlans_and_tunnels() {
        let plain = tcp_packet((1, 2), (4431, 8080), 9, 100, 0x18, b"hello");
        let read = Headers::of(1, &plain, plain.len() as u32).expect("IP");
        assert_eq!((read.source, read.destination), (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])));
        assert_eq!((read.id, read.length, read.payload), (9, 5, &b"hello"[..]));
        let Transport::Tcp { ports, sequence, flags, window, .. } = read.transport else { panic!("{read:?}") };
        assert_eq!((ports, sequence, flags, window), ((4431, 8080), 100, 0x18, 256));
        let mut tagged = plain.clone();
        tagged.splice(12..12, [0x81, 0, 0, 5]);
        assert_eq!(Headers::of(1, &tagged, tagged.len() as u32), Some(read));
        assert_eq!(Headers::of(101, &plain[14..], plain.len() as u32 - 14), Some(read));
        // VXLAN of two hosts around it.
        let mut outer = vec![0; 12];
        outer.extend([8, 0, 0x45, 0]);
        outer.extend((20 + 16 + plain.len() as u16).to_be_bytes());
        outer.extend([0, 1, 0, 0, 64, 17, 0, 0, 192, 168, 0, 1, 192, 168, 0, 2, 0x99, 0x99, 0x12, 0xB5, 0, 0, 0, 0]);
        outer.extend([8, 0, 0, 0, 0, 0, 1, 0]);
        outer.extend(&plain);
        assert_eq!(Headers::of(1, &outer, outer.len() as u32), Some(Headers { tunneled: true, ..read }));
        // Padding that a network card adds is no payload.
        let mut padded = tcp_packet((1, 2), (1, 2), 9, 100, 0x10, b"");
        padded.resize(60, 0);
        assert_eq!(Headers::of(1, &padded, 60).expect("IP").length, 0);
        assert!(Headers::of(1, &padded, 60).expect("IP").payload.is_empty());
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_nothing_panics(
            link in prop::sample::select(vec![0u16, 1, 12, 101, 108, 113, 228, 276, 7]),
            data in prop::collection::vec(any::<u8>(), 0..200),
            wire in any::<u32>(),
            begin in prop::sample::select(vec![&[0x45u8, 0][..], &[0x60, 0], &[], &[0; 12]]),
        ) {
            let data = [begin, &data].concat();
            let _ = Headers::of(link, &data, wire);
            let _ = crate::packets::line(link, &data, wire);
        }
    }
}
