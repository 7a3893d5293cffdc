//! A segment of TCP, and its options.

use super::{end, word};
use crate::decode::{Class, Headers};

/// The sender sends no more.
pub const FIN: u16 = 0x01;
/// Begins a connection.
pub const SYN: u16 = 0x02;
/// Ends a connection at once.
pub const RST: u16 = 0x04;
/// The acknowledgment number is one.
pub const ACK: u16 = 0x10;

/// A segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// FIN and up, a bit each.
    pub flags: u16,
    /// The number of its first byte.
    pub sequence: u32,
    /// The next byte that its sender expects.
    pub acknowledged: u32,
    /// The window as it is sent, not scaled.
    pub window: u16,
    /// Bytes of payload on the wire, however many were captured.
    pub length: u32,
    /// Those that were captured.
    pub payload: &'a [u8],
    options: &'a [u8],
}

/// What a segment's options say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The longest payload that its sender takes.
    pub longest: Option<u16>,
    /// By how many bits its sender's windows are to be shifted.
    pub scale: Option<u8>,
    /// Selective acknowledgments may be sent.
    pub selective: bool,
    /// Its sender's clock, and what it has seen last of the other's.
    pub stamps: Option<(u32, u32)>,
    /// Ranges that its sender has; so many of them are said.
    pub ranges: [(u32, u32); 4],
    /// How many ranges there are.
    pub ranges_said: u8,
}

impl<'a> Segment<'a> {
    /// The segment of a packet that had so many bytes on the wire; `None` where that is none, or only a piece of one.
    #[inline]
    pub fn of(headers: &Headers, bytes: &'a [u8], wire_length: u32) -> Option<Self> {
        let at = headers.place.transport as usize;
        if headers.class != Class::Tcp || at == 0 || headers.fragment.is_some() {
            return None;
        }
        let fixed = bytes.get(at..)?.first_chunk::<16>()?;
        let four = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let header = usize::from(fixed[12] >> 4) * 4;
        let behind = at + header;
        let end = end(headers, wire_length);
        let length = end.checked_sub(behind as u32)?;
        if header < 20 {
            return None;
        }
        let captured = bytes.len().min(end as usize);
        Some(Self {
            flags: u16::from_be_bytes([fixed[12], fixed[13]]) & 0x1FF,
            sequence: four(4),
            acknowledged: four(8),
            window: u16::from_be_bytes([fixed[14], fixed[15]]),
            length,
            payload: bytes.get(behind..captured).unwrap_or_default(),
            options: bytes.get(at + 20..behind.min(captured)).unwrap_or_default(),
        })
    }

    /// One of these flags is set.
    #[inline]
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    /// The sender's clock and what it has last seen of the other's, where it says them as nearly all do.
    #[inline]
    pub fn stamps(&self) -> Option<(u32, u32)> {
        match self.options {
            [1, 1, 8, 10, rest @ ..] => word(rest, 0).zip(word(rest, 4)),
            [] => None,
            _ => self.options().stamps,
        }
    }

    /// Its options; what comes after one that is none is not read.
    pub fn options(&self) -> Options {
        let mut found = Options::default();
        let mut at = 0;
        while let Some(&kind) = self.options.get(at) {
            if kind == 0 {
                break;
            }
            if kind == 1 {
                at += 1;
                continue;
            }
            let length = self.options.get(at + 1).copied().map_or(0, usize::from);
            let Some(value) = self.options.get(at + 2..at + length.max(2)).filter(|_| length >= 2) else { break };
            match (kind, value) {
                (2, &[high, low]) => found.longest = Some(u16::from_be_bytes([high, low])),
                (3, &[shift]) => found.scale = Some(shift.min(14)),
                (4, []) => found.selective = true,
                (5, edges) => {
                    for (edge, range) in edges.chunks_exact(8).zip(&mut found.ranges) {
                        *range = (word(edge, 0).unwrap_or(0), word(edge, 4).unwrap_or(0));
                        found.ranges_said += 1;
                    }
                }
                (8, value) => found.stamps = word(value, 0).zip(word(value, 4)),
                _ => {}
            }
            at += length;
        }
        found
    }
}
