//! How far a file on disk is whole.
//!
//! Owns the walk over blocks of a file that this product wrote and a crash may have torn.

use std::io::{self, Read};

use crate::ENHANCED_PACKET;

/// How far a file consists of whole blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Whole {
    /// Bytes up to the end of the last whole block.
    pub length: u64,
    /// Packets in them.
    pub packets: u64,
}

/// Walks a file written by this module and finds where its whole blocks end: behind that is a torn tail, left by a
/// process that was killed while it wrote.
pub fn whole(mut file: impl Read) -> io::Result<Whole> {
    let mut whole = Whole::default();
    let mut head = [0u8; 8];
    let mut body = Vec::new();
    loop {
        if !fill(&mut file, &mut head)? {
            return Ok(whole);
        }
        let kind = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let total = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        // No block of ours is longer than the largest snaplen and its overhead.
        if total < 12 || !total.is_multiple_of(4) || total > 1024 * 1024 {
            return Ok(whole);
        }
        body.resize(total as usize - 8, 0);
        if !fill(&mut file, &mut body)? || body[body.len() - 4..] != head[4..] {
            return Ok(whole);
        }
        whole.length += u64::from(total);
        whole.packets += u64::from(kind == ENHANCED_PACKET);
    }
}

/// Reads exactly that many bytes; false when the file ends before.
fn fill(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
