//! What stands behind a packet's headers, read when somebody asks for it.
//!
//! Owns segments of TCP, errors of ICMP, messages of DNS and questions for neighbours. All of it distrusts the bytes,
//! and takes what was not captured for not known.

mod dns;
mod icmp;
mod neighbour;
mod tcp;

pub use dns::Message;
pub use icmp::{Icmp, Quoted};
pub use neighbour::Neighbour;
pub use tcp::{ACK, FIN, Options, RST, SYN, Segment};

use crate::decode::Headers;

/// How many more hosts may pass the innermost packet on.
pub fn hops_left(headers: &Headers, bytes: &[u8]) -> Option<u8> {
    let at = headers.place.network as usize;
    match bytes.get(at)? >> 4 {
        4 => bytes.get(at + 8).copied(),
        6 => bytes.get(at + 7).copied(),
        _ => None,
    }
}

/// Where a packet ends on the wire, by its own header and by its length.
fn end(headers: &Headers, wire_length: u32) -> u32 {
    match headers.place.end {
        0 => wire_length,
        end => end.min(wire_length),
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|&two| u16::from_be_bytes(two))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|&four| u32::from_be_bytes(four))
}
