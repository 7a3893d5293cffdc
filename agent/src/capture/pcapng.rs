//! pcapng blocks as bytes, and how far a file on disk is whole.
//!
//! Owns the file format (draft-ietf-opsawg-pcapng). Must not know interfaces, rings or files' names. Little-endian,
//! nanosecond timestamps, one Interface Description Block an interface.

use std::io::{self, Read};

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1A2B_3C4D;

/// An Enhanced Packet Block without its packet.
pub const PACKET_OVERHEAD: usize = 32;

/// One interface as its description block has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceBlock<'a> {
    /// Kernel name.
    pub name: &'a str,
    /// LINKTYPE_ number.
    pub link_type: u16,
    /// Bytes kept of each packet.
    pub snaplen: u32,
    /// The capture filter, when there is one.
    pub filter: Option<&'a str>,
}

/// One interface's counts as its statistics block has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatisticsBlock {
    /// Index of the interface in its section.
    pub interface: u32,
    /// Nanoseconds since the Unix epoch.
    pub at: u64,
    /// When this file's packets begin.
    pub since: u64,
    /// Packets taken in, whether or not they were written.
    pub received: u64,
    /// Dropped by the interface.
    pub dropped_by_interface: u64,
    /// Dropped by the kernel's packet ring.
    pub dropped_by_kernel: u64,
    /// Handed to the disk.
    pub delivered: u64,
}

/// Opens a section: every file begins with one.
pub fn section_header(out: &mut Vec<u8>, hostname: &str) {
    block(out, SECTION_HEADER, |body| {
        body.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        body.extend(1u16.to_le_bytes());
        body.extend(0u16.to_le_bytes());
        body.extend(u64::MAX.to_le_bytes());
        option(body, 2, hostname.as_bytes());
        option(body, 3, std::env::consts::OS.as_bytes());
        option(body, 4, concat!("nodewatch-agent ", env!("CARGO_PKG_VERSION")).as_bytes());
        option(body, 0, &[]);
    });
}

/// Describes the next interface of the section.
pub fn interface_description(out: &mut Vec<u8>, interface: &InterfaceBlock<'_>) {
    block(out, INTERFACE_DESCRIPTION, |body| {
        body.extend(interface.link_type.to_le_bytes());
        body.extend([0, 0]);
        body.extend(interface.snaplen.to_le_bytes());
        option(body, 2, interface.name.as_bytes());
        option(body, 9, &[9]);
        if let Some(filter) = interface.filter {
            let mut value = vec![0];
            value.extend_from_slice(filter.as_bytes());
            option(body, 11, &value);
        }
        option(body, 0, &[]);
    });
}

/// Writes one interface's counts, the last thing before a file is closed.
pub fn interface_statistics(out: &mut Vec<u8>, counts: &StatisticsBlock) {
    block(out, INTERFACE_STATISTICS, |body| {
        body.extend(counts.interface.to_le_bytes());
        body.extend(timestamp(counts.at));
        option(body, 2, &timestamp(counts.since));
        option(body, 3, &timestamp(counts.at));
        option(body, 4, &counts.received.to_le_bytes());
        option(body, 5, &counts.dropped_by_interface.to_le_bytes());
        option(body, 7, &counts.dropped_by_kernel.to_le_bytes());
        option(body, 8, &counts.delivered.to_le_bytes());
        option(body, 0, &[]);
    });
}

/// One packet. `parts` are its captured bytes in order; more than one where a VLAN tag is put back in its place.
#[inline]
pub fn enhanced_packet<const N: usize>(
    out: &mut Vec<u8>,
    interface: u32,
    nanos: u64,
    wire_length: u32,
    parts: [&[u8]; N],
) {
    let captured: usize = parts.iter().map(|part| part.len()).sum();
    let padded = captured.next_multiple_of(4);
    let total = (PACKET_OVERHEAD + padded) as u32;
    let mut head = [0u8; 28];
    head[0..4].copy_from_slice(&ENHANCED_PACKET.to_le_bytes());
    head[4..8].copy_from_slice(&total.to_le_bytes());
    head[8..12].copy_from_slice(&interface.to_le_bytes());
    head[12..20].copy_from_slice(&timestamp(nanos));
    head[20..24].copy_from_slice(&(captured as u32).to_le_bytes());
    head[24..28].copy_from_slice(&wire_length.to_le_bytes());
    // Padding and the trailing length in one piece: the last bytes of it.
    let mut tail = [0u8; 7];
    tail[3..7].copy_from_slice(&total.to_le_bytes());
    out.reserve(total as usize);
    out.extend_from_slice(&head);
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&tail[3 - (padded - captured)..]);
}

/// A 64-bit timestamp as pcapng splits it: high half first.
fn timestamp(nanos: u64) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[0..4].copy_from_slice(&((nanos >> 32) as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&(nanos as u32).to_le_bytes());
    bytes
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let total = (out.len() - start + 4) as u32;
    out[start + 4..start + 8].copy_from_slice(&total.to_le_bytes());
    out.extend(total.to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    // An option's length has 16 bits; a longer text (only a filter can be) is cut.
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    out.extend(code.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
    out.extend_from_slice(&[0; 3][..value.len().next_multiple_of(4) - value.len()]);
}

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

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};
    use proptest::prelude::*;

    use super::*;

    fn file(packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        section_header(&mut out, "node-1");
        let interface = InterfaceBlock { name: "eth0", link_type: 1, snaplen: 128, filter: Some("tcp") };
        interface_description(&mut out, &interface);
        for (nanos, data) in packets {
            enhanced_packet(&mut out, 0, *nanos, 1500, [data.as_slice()]);
        }
        interface_statistics(
            &mut out,
            &StatisticsBlock {
                interface: 0,
                at: 9,
                since: 1,
                received: 5,
                dropped_by_interface: 2,
                dropped_by_kernel: 3,
                delivered: 4,
            },
        );
        out
    }

    #[test]
    fn a_vlan_tag_is_put_between_its_neighbours() {
        let mut out = Vec::new();
        enhanced_packet(&mut out, 0, 0, 9, [&[1, 2], &[3, 4], &[5]]);
        assert_eq!(out[28..33], [1, 2, 3, 4, 5]);
        assert_eq!(out.len(), PACKET_OVERHEAD + 8);
    }

    proptest! {
        #[test]
        fn another_reader_finds_what_was_written(
            packets in proptest::collection::vec((any::<u64>(), proptest::collection::vec(any::<u8>(), 0..100)), 0..10)
        ) {
            let bytes = file(&packets);
            let mut reader = PcapNgReader::new(bytes.as_slice()).expect("a section");
            let mut found = Vec::new();
            let mut drops = None;
            while let Some(block) = reader.next_block() {
                match block.expect("a block") {
                    Block::EnhancedPacket(packet) => {
                        prop_assert_eq!(packet.original_len, 1500);
                        found.push(packet.data.to_vec());
                    }
                    Block::InterfaceStatistics(counts) => drops = Some(counts.options.len()),
                    _ => {}
                }
            }
            prop_assert_eq!(found, packets.iter().map(|(_, data)| data.clone()).collect::<Vec<_>>());
            prop_assert_eq!(drops, Some(6));
            prop_assert_eq!(whole(bytes.as_slice()).expect("read"),
                Whole { length: bytes.len() as u64, packets: packets.len() as u64 });
        }

        #[test]
        fn a_torn_tail_ends_at_a_block(cut in 0usize..400) {
            let bytes = file(&[(1, vec![7; 60]), (2, vec![8; 61])]);
            let cut = cut.min(bytes.len());
            let whole = whole(&bytes[..cut]).expect("read");
            prop_assert!(whole.length as usize <= cut);
            // What is left is a file that another reader takes to its end.
            let Ok(mut reader) = PcapNgReader::new(&bytes[..whole.length as usize]) else {
                prop_assert_eq!(whole.length, 0);
                return Ok(());
            };
            while let Some(block) = reader.next_block() {
                prop_assert!(block.is_ok());
            }
        }

        #[test]
        fn any_bytes_are_walked_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let whole = whole(bytes.as_slice()).expect("read");
            prop_assert!(whole.length as usize <= bytes.len());
        }
    }
}
