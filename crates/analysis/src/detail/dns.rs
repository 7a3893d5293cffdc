//! The header of a DNS message and its first question.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::half;

/// A name is no longer than this, with what its labels take.
const LONGEST: usize = 255;
/// Pointers that are followed in one name.
const POINTERS: usize = 16;

/// A message, as far as it was captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// What tells a client's questions apart.
    pub id: u16,
    /// It is an answer.
    pub answers: bool,
    /// What is asked for: 0 is a query.
    pub opcode: u8,
    /// It did not fit.
    pub truncated: bool,
    /// How it went: 0 well, 2 the server failed, 3 there is no such name.
    pub rcode: u8,
    /// The first question's name, as a number; 0 where it was not captured.
    pub name: u64,
    /// Its first label, as a number: the same one with other ends is a resolver's search.
    pub label: u64,
    /// The first question's type.
    pub kind: u16,
}

impl Message {
    /// What these bytes say; `None` where they do not look like DNS.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<12>()?;
        let flags = u16::from_be_bytes([header[2], header[3]]);
        let questions = u16::from_be_bytes([header[4], header[5]]);
        let mut message = Self {
            id: u16::from_be_bytes([header[0], header[1]]),
            answers: flags & 0x8000 != 0,
            opcode: (flags >> 11 & 0xF) as u8,
            truncated: flags & 0x0200 != 0,
            rcode: (flags & 0xF) as u8,
            name: 0,
            label: 0,
            kind: 0,
        };
        if questions > 0
            && let Some((name, label, end)) = name(bytes, 12)
        {
            (message.name, message.label, message.kind) = (name, label, half(bytes, end).unwrap_or(0));
        }
        Some(message)
    }
}

/// A name and its first label as numbers, whatever their case, and where it ends.
fn name(bytes: &[u8], start: usize) -> Option<(u64, u64, usize)> {
    let (mut at, mut end, mut length, mut pointers) = (start, None, 0, 0);
    let (mut whole, mut first) = (FxHasher::default(), None);
    loop {
        let size = usize::from(*bytes.get(at)?);
        match size {
            0 => {
                let end = end.unwrap_or(at + 1);
                return Some((whole.finish() | 1, first.unwrap_or(0), end));
            }
            1..=63 => {
                length += size + 1;
                if length >= LONGEST {
                    return None;
                }
                let label = bytes.get(at + 1..at + 1 + size)?;
                let mut one = FxHasher::default();
                for byte in label {
                    one.write_u8(byte.to_ascii_lowercase());
                }
                let one = one.finish() | 1;
                first.get_or_insert(one);
                whole.write_u64(one);
                at += 1 + size;
            }
            0xC0.. => {
                pointers += 1;
                let to = usize::from(half(bytes, at)? & 0x3FFF);
                // It may only point to what came before.
                if pointers > POINTERS || to >= at {
                    return None;
                }
                end.get_or_insert(at + 2);
                at = to;
            }
            _ => return None,
        }
    }
}
