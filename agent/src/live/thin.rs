//! A stream for somebody who looks at single packets: the latest ones, their headers alone, and not too many.
//!
//! Owns which go out. How many did not is said with the next one that does, as pcapng has it: as packets lost before
//! it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use nodewatch_pcapng::{Block, Parser, enhanced_packet, packets_before};
use nodewatch_protocol::Content;

use crate::capture::kept_of;

/// Packets that wait for the next look, and what was left out.
pub(super) struct Thin {
    most: usize,
    parser: Parser,
    links: Vec<u16>,
    latest: VecDeque<(u32, u64, u32, Vec<u8>)>,
    left_out: u64,
    /// What lies before the first look is no news.
    looked: Option<Instant>,
}

impl Thin {
    /// At most so many at each look.
    pub(super) fn new(most: usize) -> Self {
        let latest = VecDeque::with_capacity(most);
        Self { most: most.max(1), parser: Parser::default(), links: Vec::new(), latest, left_out: 0, looked: None }
    }

    /// A file begins.
    pub(super) fn begin(&mut self) {
        self.parser = Parser::default();
        self.links.clear();
    }

    /// Takes whole blocks in; what is no packet goes out at once. False when they are none that can be read.
    pub(super) fn take(&mut self, blocks: &[u8], out: &mut Vec<u8>) -> bool {
        self.parser.push(blocks);
        let mut at = 0;
        loop {
            let before = at;
            match self.parser.next_block() {
                Ok(Some(Block::Packet(packet))) => {
                    let link = self.links.get(packet.interface).copied().unwrap_or_default();
                    let kept = kept_of(Content::Headers, link, packet.data);
                    if self.latest.len() == self.most {
                        self.latest.pop_front();
                        self.left_out += 1;
                    }
                    let data = packet.data[..kept].to_vec();
                    self.latest.push_back((packet.interface as u32, packet.nanos, packet.wire_length, data));
                }
                Ok(Some(Block::Section(_))) => self.links.clear(),
                Ok(Some(Block::Interface(interface))) => self.links.push(interface.link_type),
                Ok(Some(Block::Statistics(_) | Block::Other(_))) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
            at = (at + length_of(&blocks[at..])).min(blocks.len());
            if kind_of(&blocks[before..]) != super::PACKET {
                out.extend_from_slice(&blocks[before..at]);
            }
        }
    }

    /// The last look was so long ago; the first comes once all was read that there is.
    pub(super) fn is_due(&self, every: Duration) -> bool {
        self.looked.is_some_and(|looked| looked.elapsed() >= every)
    }

    /// The latest go out.
    pub(super) fn look(&mut self, out: &mut Vec<u8>) {
        if self.looked.replace(Instant::now()).is_none() {
            self.left_out = 0;
        }
        for (interface, nanos, wire_length, data) in self.latest.drain(..) {
            let mut options = Vec::new();
            if self.left_out > 0 {
                packets_before(&mut options, std::mem::take(&mut self.left_out));
            }
            enhanced_packet(out, interface, nanos, wire_length, [&data], &options);
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |&four| u32::from_le_bytes(four))
}

fn kind_of(bytes: &[u8]) -> u32 {
    word(bytes, 0)
}

fn length_of(bytes: &[u8]) -> usize {
    word(bytes, 4) as usize
}
