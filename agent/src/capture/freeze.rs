//! One file out of a flight recorder's memory.
//!
//! Owns the cut by time. Must not know the ring or threads.

use std::{
    fs::File,
    io::{self, Write},
    ops::RangeInclusive,
};

use nodewatch_pcapng::{self as pcapng, Block, InterfaceTable, Reader, SectionBlock};

/// What was written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Frozen {
    /// Bytes.
    pub size: u64,
    /// Packets.
    pub packets: u64,
}

/// Bytes gathered before they are written.
const BUFFER: usize = 256 * 1024;

/// Copies the packets of these nanoseconds out of files of one capture, which all describe the same interfaces.
pub fn assemble(
    segments: Vec<File>,
    nanos: &RangeInclusive<u64>,
    comment: &str,
    out: &mut impl Write,
) -> io::Result<Frozen> {
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut frozen = Frozen::default();
    let mut table = InterfaceTable::default();
    for (index, segment) in segments.into_iter().enumerate() {
        let mut reader = Reader::new(segment);
        let mut numbers = Vec::new();
        while let Some(block) = reader.next_block().map_err(io::Error::other)? {
            match block {
                Block::Section(section) if index == 0 => {
                    let comments = [section.comments.as_slice(), &[comment.to_owned()]].concat();
                    let header = SectionBlock {
                        hardware: &section.hardware,
                        application: &section.application,
                        comments: &comments,
                    };
                    pcapng::section_header(&mut buffer, &header);
                }
                Block::Interface(one) => numbers.push(table.number(&mut buffer, &one.name, "", &one)),
                Block::Packet(packet) if nanos.contains(&packet.nanos) => {
                    let (interface, data) = (numbers[packet.interface], [packet.data]);
                    pcapng::enhanced_packet(&mut buffer, interface, packet.nanos, packet.wire_length, data, &[]);
                    frozen.packets += 1;
                }
                Block::Statistics(counts) => {
                    if let Some(&number) = numbers.get(counts.interface) {
                        table.count(number, &counts);
                    }
                }
                Block::Section(_) | Block::Packet(_) | Block::Other(_) => {}
            }
            if buffer.len() >= BUFFER {
                out.write_all(&buffer)?;
                frozen.size += buffer.len() as u64;
                buffer.clear();
            }
        }
    }
    table.write_counts(&mut buffer);
    out.write_all(&buffer)?;
    frozen.size += buffer.len() as u64;
    Ok(frozen)
}
