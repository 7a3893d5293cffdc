//! A packet's headers, from the link layer to the transport layer, inside tunnels those of the packet that they carry.
//!
//! Owns offsets and lengths. What is not whole is not guessed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Tunnels in tunnels that are looked into.
const DEEPEST: u32 = 4;
pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86DD;
pub(super) const ARP: u16 = 0x0806;
const ETHERNET_IN_GRE: u16 = 0x6558;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const IP_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;
/// The ports of VXLAN, as IANA and as Linux has them, and that of Geneve.
const VXLAN: [u16; 2] = [4789, 8472];
const GENEVE: u16 = 6081;

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
    /// How many tunnels it came in.
    pub tunnels: u32,
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

impl<'a> Headers<'a> {
    /// Reads a packet that had so many bytes on the wire; `None` where it is no IP packet.
    pub fn of(link_type: u16, data: &'a [u8], wire_length: u32) -> Option<Self> {
        let (kind, start) = network(link_type, data)?;
        Self::at(kind, data.get(start..)?, wire_length.saturating_sub(start as u32), 0)
    }

    /// The ports, where it has some.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.transport {
            Transport::Tcp { ports, .. } | Transport::Udp { ports } => Some(ports),
            Transport::Icmp { .. } | Transport::Other => None,
        }
    }

    fn at(kind: u16, data: &'a [u8], wire: u32, tunnels: u32) -> Option<Self> {
        let ip = match kind {
            IPV4 => v4(data, wire)?,
            IPV6 => v6(data, wire)?,
            _ => return None,
        };
        let outer = Self { tunnels, ..ip };
        if outer.fragment.0 > 0 {
            return Some(outer);
        }
        Some(outer.inside().unwrap_or_else(|| outer.with_transport()))
    }

    /// The packet that this one carries, where it is a tunnel's.
    fn inside(&self) -> Option<Self> {
        if self.tunnels >= DEEPEST {
            return None;
        }
        let (kind, start) = match self.protocol {
            IP_IN_IP => (IPV4, 0),
            IPV6_IN_IP => (IPV6, 0),
            GRE => {
                let (flags, kind) = (half(self.payload, 0)?, half(self.payload, 2)?);
                // Versions with other headers.
                if flags & 0x7 != 0 {
                    return None;
                }
                let more = [0x8000, 0x2000, 0x1000].iter().filter(|&&bit| flags & bit != 0).count();
                self.ethernet(kind, 4 + more * 4)?
            }
            UDP if VXLAN.contains(&half(self.payload, 2)?) => self.ethernet(ETHERNET_IN_GRE, 8 + 8)?,
            UDP if half(self.payload, 2)? == GENEVE => {
                let options = usize::from(*self.payload.get(8)? & 0x3F) * 4;
                self.ethernet(half(self.payload, 10)?, 8 + 8 + options)?
            }
            _ => return None,
        };
        Self::at(kind, self.payload.get(start..)?, self.length.saturating_sub(start as u32), self.tunnels + 1)
    }

    /// What lies there, perhaps behind an Ethernet header.
    fn ethernet(&self, kind: u16, start: usize) -> Option<(u16, usize)> {
        if kind != ETHERNET_IN_GRE {
            return Some((kind, start));
        }
        let (kind, more) = network(1, self.payload.get(start..)?)?;
        Some((kind, start + more))
    }

    fn with_transport(self) -> Self {
        let data = self.payload;
        let found = match self.protocol {
            TCP => tcp(data),
            UDP => half(data, 0).zip(half(data, 2)).map(|ports| (Transport::Udp { ports }, 8)),
            ICMP | ICMPV6 => data.first_chunk::<8>().map(|&[kind, code, _, _, a, b, c, d]| {
                (Transport::Icmp { kind: (kind, code), rest: u32::from_be_bytes([a, b, c, d]) }, 8)
            }),
            _ => None,
        };
        let Some((transport, header)) = found else { return self };
        let payload = data.get(header..).unwrap_or_default();
        Self { transport, payload, length: self.length.saturating_sub(header as u32), ..self }
    }
}

/// The kind of what the link layer carries, and where that begins.
pub(super) fn network(link_type: u16, data: &[u8]) -> Option<(u16, usize)> {
    let by_version = |start: usize| match data.get(start)? >> 4 {
        4 => Some((IPV4, start)),
        6 => Some((IPV6, start)),
        _ => None,
    };
    match link_type {
        1 => {
            let mut at = 12;
            while matches!(half(data, at)?, 0x8100 | 0x88A8 | 0x9100) {
                at += 4;
            }
            Some((half(data, at)?, at + 2))
        }
        0 | 108 => by_version(4),
        12 | 14 | 101 | 228 | 229 => by_version(0),
        113 => Some((half(data, 14)?, 16)),
        276 => Some((half(data, 0)?, 20)),
        _ => None,
    }
}

fn v4(data: &[u8], wire: u32) -> Option<Headers<'_>> {
    let header = usize::from(data.first()? & 0xF) * 4;
    if data[0] >> 4 != 4 || header < 20 || data.len() < header {
        return None;
    }
    // One that was too long for its field, as the sender's own network card gets it.
    let total = match half(data, 2)? {
        0 => wire,
        total => u32::from(total),
    };
    let fragment = half(data, 6)?;
    let address =
        |at: usize| data.get(at..).and_then(<[u8]>::first_chunk::<4>).map(|&four| Ipv4Addr::from(four).into());
    Some(Headers {
        source: address(12)?,
        destination: address(16)?,
        id: half(data, 4)?.into(),
        fragment: (fragment & 0x1FFF, fragment & 0x2000 != 0),
        protocol: data[9],
        transport: Transport::Other,
        length: total.saturating_sub(header as u32),
        payload: up_to(data, header, total as usize),
        tunnels: 0,
    })
}

fn v6(data: &[u8], wire: u32) -> Option<Headers<'_>> {
    let address = |at: usize| data.get(at..).and_then(<[u8]>::first_chunk::<16>).map(|&all| Ipv6Addr::from(all).into());
    let (source, destination) = (address(8)?, address(24)?);
    if data[0] >> 4 != 6 {
        return None;
    }
    let total = match half(data, 4)? {
        0 => wire,
        length => 40 + u32::from(length),
    };
    let (mut protocol, mut at, mut id, mut fragment) = (data[6], 40, 0, (0, false));
    // Headers between that and the transport's.
    while let Some(&[next, length]) = data.get(at..).and_then(<[u8]>::first_chunk::<2>) {
        let length = match protocol {
            0 | 43 | 60 => 8 + usize::from(length) * 8,
            51 => 8 + usize::from(length) * 4,
            44 => {
                let Some(rest) = data.get(at + 2..).and_then(<[u8]>::first_chunk::<6>) else { break };
                let offset = u16::from_be_bytes([rest[0], rest[1]]);
                fragment = (offset >> 3, offset & 1 != 0);
                id = u32::from_be_bytes([rest[2], rest[3], rest[4], rest[5]]);
                8
            }
            _ => break,
        };
        (protocol, at) = (next, at + length);
        if fragment.0 > 0 {
            break;
        }
    }
    let length = total.saturating_sub(at as u32);
    let payload = up_to(data, at, total as usize);
    Some(Headers {
        source,
        destination,
        id,
        fragment,
        protocol,
        transport: Transport::Other,
        length,
        payload,
        tunnels: 0,
    })
}

fn tcp(data: &[u8]) -> Option<(Transport, usize)> {
    let ports = (half(data, 0)?, half(data, 2)?);
    let (sequence, acknowledged) = (word(data, 4)?, word(data, 8)?);
    let (header, flags, window) = (usize::from(*data.get(12)? >> 4) * 4, *data.get(13)?, half(data, 14)?);
    (header >= 20).then_some((Transport::Tcp { ports, sequence, acknowledged, flags, window }, header))
}

/// Bytes from there up to where the headers say that the packet ends, as many as there are: behind it is padding.
fn up_to(data: &[u8], start: usize, end: usize) -> &[u8] {
    data.get(start..end.min(data.len())).unwrap_or_default()
}

pub(super) fn half(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|&two| u16::from_be_bytes(two))
}

pub(super) fn word(data: &[u8], at: usize) -> Option<u32> {
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
        assert_eq!(Headers::of(1, &outer, outer.len() as u32), Some(Headers { tunnels: 1, ..read }));
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
