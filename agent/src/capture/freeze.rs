//! One file out of the pieces of a flight recorder's memory.
//!
//! Owns the cut by time and what is counted of it. Must not know the ring or threads.

use std::{
    io::{self, Read, Write},
    ops::RangeInclusive,
};

use nodewatch_pcapng::{self as pcapng, Block, InterfaceTable, ReadError, Reader, SectionBlock, StatisticsBlock};
use nodewatch_protocol::Dropped;

use super::DROPPED;

/// Bytes gathered before they are written.
const BUFFER: usize = 256 * 1024;

/// A piece could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The piece.
    #[error("cannot read")]
    Read(#[from] ReadError),
    /// The new file: it ends with its last whole block.
    #[error("cannot write")]
    Write(#[source] io::Error),
}

/// Where a piece lies to the time that is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Altogether in it: what was dropped of the piece was dropped in that time.
    Inside,
    /// Across an end of it: some of what was dropped may have been.
    Across,
    /// Beside it: of its packets one that came late may be in it.
    Beside,
}

/// The file as it grows.
pub struct Assembly<W> {
    out: W,
    buffer: Vec<u8>,
    table: InterfaceTable,
    /// By the number of the interface.
    counts: Vec<Counts>,
    /// What is said in the file's first block, and what is to be said in its last ones.
    said: Vec<String>,
    to_say: Vec<String>,
    begun: bool,
    /// Bytes that are written, all of them in whole blocks.
    pub size: u64,
    /// Packets in them.
    pub packets: u64,
    buffered_packets: u64,
    /// Drops of pieces that lie in the time altogether.
    pub dropped: Dropped,
    /// Drops of pieces that only touch it: some of these are outside.
    pub at_edges: Dropped,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    at: u64,
    packets: u64,
    kernel: u64,
    interface: u64,
    queue: u64,
}

impl<W: Write> Assembly<W> {
    /// A file in whose first block this is said.
    pub fn new(out: W, said: Vec<String>) -> Self {
        Self {
            out,
            buffer: Vec::with_capacity(BUFFER),
            table: InterfaceTable::default(),
            counts: Vec::new(),
            said,
            to_say: Vec::new(),
            begun: false,
            size: 0,
            packets: 0,
            buffered_packets: 0,
            dropped: Dropped::default(),
            at_edges: Dropped::default(),
        }
    }

    /// Copies the packets of these nanoseconds.
    pub fn copy(&mut self, input: impl Read, nanos: &RangeInclusive<u64>, piece: Piece) -> Result<(), CopyError> {
        let mut reader = Reader::new(input);
        let mut numbers = Vec::new();
        while let Some(block) = reader.next_block()? {
            match block {
                Block::Section(section) => self.section(&section),
                Block::Interface(one) => {
                    let number = self.table.number(&mut self.buffer, &one.name, "", &one);
                    self.counts.resize(self.counts.len().max(number as usize + 1), Counts::default());
                    numbers.push(number);
                }
                Block::Packet(packet) if nanos.contains(&packet.nanos) => {
                    let (interface, data) = (numbers[packet.interface], [packet.data]);
                    pcapng::enhanced_packet(&mut self.buffer, interface, packet.nanos, packet.wire_length, data, &[]);
                    self.counts[interface as usize].packets += 1;
                    self.buffered_packets += 1;
                }
                Block::Statistics(counts) => {
                    if let Some(&number) = numbers.get(counts.interface) {
                        self.count(number as usize, &counts, piece);
                    }
                }
                Block::Packet(_) | Block::Other(_) => {}
            }
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
        }
        self.flush()
    }

    /// Ends the file with its counts.
    pub fn end(&mut self, words: &[String]) -> Result<(), CopyError> {
        if !self.begun {
            self.section(&pcapng::Section::default());
        }
        self.to_say.extend(words.iter().filter(|one| !self.said.contains(one)).cloned());
        let mut comment = self.to_say.join("; ");
        for (number, counts) in self.counts.iter().enumerate() {
            let Counts { at, packets, kernel, interface, queue } = *counts;
            if (kernel, interface, queue) != (0, 0, 0) {
                let drops = format!("{DROPPED} {kernel}, by interface {interface}, by our own queue {queue}");
                comment = if comment.is_empty() { drops } else { format!("{drops}; {comment}") };
            }
            let block = StatisticsBlock {
                interface: number as u32,
                at,
                since: 0,
                received: packets + kernel + queue,
                dropped_by_interface: interface,
                dropped_by_kernel: kernel,
                delivered: packets,
                comment: &comment,
            };
            pcapng::interface_statistics(&mut self.buffer, &block);
            comment = String::new();
        }
        self.flush()
    }

    /// What is gathered cannot be written any more.
    pub fn forget_unwritten(&mut self) {
        self.buffer.clear();
        self.buffered_packets = 0;
    }

    fn section(&mut self, section: &pcapng::Section) {
        let news: Vec<String> = section.comments.iter().filter(|one| !self.said.contains(one)).cloned().collect();
        if self.begun {
            self.to_say.extend(news.iter().filter(|one| !self.to_say.contains(one)).cloned().collect::<Vec<_>>());
            return;
        }
        self.begun = true;
        let comments = [news, std::mem::take(&mut self.said)].concat();
        let header =
            SectionBlock { hardware: &section.hardware, application: &section.application, comments: &comments };
        pcapng::section_header(&mut self.buffer, &header);
        self.said = comments;
    }

    fn count(&mut self, number: usize, counts: &pcapng::Statistics, piece: Piece) {
        let reached = counts.delivered.saturating_add(counts.dropped_by_kernel);
        let queue = counts.received.saturating_sub(reached);
        let sum = match piece {
            Piece::Inside => Some(&mut self.dropped),
            Piece::Across => Some(&mut self.at_edges),
            Piece::Beside => None,
        };
        if let Some(sum) = sum {
            sum.kernel += counts.dropped_by_kernel;
            sum.interface += counts.dropped_by_interface;
            sum.queue += queue;
        }
        let ours = &mut self.counts[number];
        ours.at = ours.at.max(counts.at);
        if piece == Piece::Inside {
            ours.kernel += counts.dropped_by_kernel;
            ours.interface += counts.dropped_by_interface;
            ours.queue += queue;
        }
        // The sums of drops are said anew.
        for comment in counts.comments.iter().filter(|comment| !comment.starts_with(DROPPED)) {
            if !self.to_say.contains(comment) && !self.said.contains(comment) {
                self.to_say.push(comment.clone());
            }
        }
    }

    fn flush(&mut self) -> Result<(), CopyError> {
        self.out.write_all(&self.buffer).map_err(CopyError::Write)?;
        self.size += self.buffer.len() as u64;
        self.packets += std::mem::take(&mut self.buffered_packets);
        self.buffer.clear();
        Ok(())
    }
}
