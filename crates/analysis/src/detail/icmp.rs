//! A message of ICMP or ICMPv6, and the packet that an error quotes.

use super::{half, word};
use crate::decode::{self, Class, Headers, Link, Tuple};

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    /// Its type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The bytes behind its checksum.
    pub rest: u32,
    /// What an error is about.
    pub quoted: Option<Quoted>,
}

/// A packet that an error quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    /// Where it came from and where it was to go.
    pub tuple: Tuple,
    /// The tunnel that it was in.
    pub tunnel: Option<nodewatch_protocol::Tunnel>,
    /// Of a TCP segment the number of its first byte.
    pub sequence: Option<u32>,
    /// Of a datagram the first two bytes that it carries, by which DNS tells questions apart.
    pub number: Option<u16>,
}

impl Icmp {
    /// The message of a packet; `None` where that is none.
    pub fn of(headers: &Headers, bytes: &[u8]) -> Option<Self> {
        let at = headers.place.transport as usize;
        let is_error: fn(u8) -> bool = match headers.class {
            Class::Icmp => |kind| matches!(kind, 3 | 4 | 5 | 11 | 12),
            Class::Icmp6 => |kind| matches!(kind, 1..=4),
            _ => return None,
        };
        if at == 0 {
            return None;
        }
        let (kind, code) = (*bytes.get(at)?, *bytes.get(at + 1)?);
        let rest = word(bytes, at + 4)?;
        let quoted = if is_error(kind) { quoted(bytes.get(at + 8..)?) } else { None };
        Some(Self { kind, code, rest, quoted })
    }

    /// A packet was too long for a link, which takes so many bytes; 0 where that is not said.
    pub fn too_big(&self, class: Class) -> Option<u32> {
        match (class, self.kind, self.code) {
            (Class::Icmp, 3, 4) => Some(self.rest & 0xFFFF),
            (Class::Icmp6, 2, _) => Some(self.rest),
            _ => None,
        }
    }

    /// A destination cannot be reached; which of the reasons is said by the code.
    pub fn is_unreachable(&self, class: Class) -> bool {
        match class {
            Class::Icmp => self.kind == 3 && self.code != 4,
            Class::Icmp6 => self.kind == 1,
            _ => false,
        }
    }
}

fn quoted(bytes: &[u8]) -> Option<Quoted> {
    let headers = decode::headers(Link::Raw, bytes);
    let tuple = headers.tuple?;
    let at = headers.place.transport as usize;
    let sequence = if headers.class == Class::Tcp && at > 0 { word(bytes, at + 4) } else { None };
    let number = if headers.class == Class::Udp && at > 0 { half(bytes, at + 8) } else { None };
    // A later piece has no ports.
    half(bytes, at)?;
    Some(Quoted { tuple, tunnel: headers.tunnel, sequence, number })
}
