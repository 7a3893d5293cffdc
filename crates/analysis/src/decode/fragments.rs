//! Pieces of DNS answers that carry no ports.
//!
//! Owns which packets' first pieces were DNS, for a while and of so many. Where the first piece comes last, or too many
//! others came in between, the later ones are not known for what they are.

use super::Headers;

/// So many packets in pieces are remembered.
const MOST: usize = 256;
/// For so long, as IP itself waits for the rest of a packet.
const NANOS: u64 = 30_000_000_000;

/// Packets in pieces of which the first was DNS.
#[derive(Debug, Default)]
pub struct Fragments {
    /// Their keys, and when they came.
    known: Vec<(u64, u64)>,
    next: usize,
}

impl Fragments {
    /// This piece, which came then, belongs to DNS.
    pub fn are_dns(&mut self, headers: &Headers, nanos: u64) -> bool {
        let Some(piece) = headers.fragment else { return headers.are_dns() };
        if piece.first {
            if headers.are_dns() {
                self.remember(piece.key, nanos);
            }
            return headers.are_dns();
        }
        self.known.iter().any(|&(key, since)| key == piece.key && nanos.abs_diff(since) <= NANOS)
    }

    fn remember(&mut self, key: u64, nanos: u64) {
        if self.known.len() < MOST {
            self.known.push((key, nanos));
        } else {
            self.known[self.next] = (key, nanos);
            self.next = (self.next + 1) % MOST;
        }
    }
}

/// The same for all pieces of one packet, and for hardly another's.
pub fn key((source, destination): (u128, u128), id: u32, protocol: u8) -> u64 {
    let parts = [source as u64, (source >> 64) as u64, destination as u64, (destination >> 64) as u64];
    let rest = u64::from(id) << 8 | u64::from(protocol);
    parts.into_iter().fold(rest, |sum, part| (sum ^ part).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29))
}
