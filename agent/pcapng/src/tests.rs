//! The format held against another reader, torn files and any bytes.

use pcap_file::pcapng::{Block as Theirs, PcapNgReader};
use proptest::prelude::*;

use super::*;

fn file(packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    section_header(&mut out, &SectionBlock { hardware: "node-1", application: "test", comments: &["seen".into()] });
    let interface = InterfaceBlock { name: "eth0", link_type: 1, snaplen: 128, filter: Some("tcp"), description: "d" };
    interface_description(&mut out, &interface);
    for (nanos, data) in packets {
        enhanced_packet(&mut out, 0, *nanos, 1500, [data.as_slice()], &[]);
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
            comment: "c",
        },
    );
    out
}

#[test]
fn a_vlan_tag_is_put_between_its_neighbours() {
    let mut out = Vec::new();
    enhanced_packet(&mut out, 0, 0, 9, [&[1, 2], &[3, 4], &[5]], &[]);
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
                Theirs::EnhancedPacket(packet) => {
                    prop_assert_eq!(packet.original_len, 1500);
                    found.push(packet.data.to_vec());
                }
                Theirs::InterfaceStatistics(counts) => drops = Some(counts.options.len()),
                _ => {}
            }
        }
        prop_assert_eq!(found, packets.iter().map(|(_, data)| data.clone()).collect::<Vec<_>>());
        prop_assert_eq!(drops, Some(7));
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

/// A packet: its interface's name, its time, its length on the wire and its bytes.
type Found = (String, u64, u32, Vec<u8>);

/// What our own reader makes of a file, or why it stopped.
fn read(bytes: &[u8]) -> Result<Vec<Found>, ReadError> {
    let mut reader = Reader::new(bytes);
    let mut names = Vec::new();
    let mut found = Vec::new();
    while let Some(block) = reader.next_block()? {
        match block {
            Block::Section(_) => names.clear(),
            Block::Interface(interface) => names.push(interface.name),
            Block::Packet(packet) => {
                found.push((names[packet.interface].clone(), packet.nanos, packet.wire_length, packet.data.to_vec()));
            }
            Block::Statistics(_) | Block::Other(_) => {}
        }
    }
    Ok(found)
}

#[test]
fn our_reader_finds_what_was_written() {
    let bytes = file(&[(5, vec![1, 2, 3]), (u64::MAX, vec![])]);
    let found = read(&bytes).expect("whole");
    assert_eq!(found, [("eth0".into(), 5, 1500, vec![1, 2, 3]), ("eth0".into(), u64::MAX, 1500, vec![])]);
    let mut reader = Reader::new(bytes.as_slice());
    let Some(Block::Section(section)) = reader.next_block().expect("a block") else { panic!("a section") };
    assert_eq!((section.hardware.as_str(), section.comments), ("node-1", vec!["seen".to_owned()]));
}

#[test]
fn a_big_endian_file_in_microseconds_is_read() {
    let mut bytes = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let total = (body.len() as u32 + 12).to_be_bytes();
        bytes.extend([&kind.to_be_bytes(), total.as_slice(), body, &total].concat());
    };
    block(SECTION_HEADER, &[&BYTE_ORDER_MAGIC.to_be_bytes()[..], &[0, 1, 0, 0], &[0xFF; 8]].concat());
    block(INTERFACE_DESCRIPTION, &[0, 1, 0, 0, 0, 0, 0, 0]);
    block(ENHANCED_PACKET, &[&[0; 8][..], &[0, 0, 0, 7], &[0, 0, 0, 1], &[0, 0, 0, 60], &[9, 0, 0, 0]].concat());
    assert_eq!(read(&bytes).expect("whole"), [(String::new(), 7000, 60, vec![9])]);
}

#[test]
fn damage_is_named_with_its_place() {
    let bytes = file(&[(1, vec![7; 60])]);
    let torn = read(&bytes[..bytes.len() - 1]).expect_err("torn");
    assert!(matches!(torn, ReadError::Torn { at } if at > 0), "{torn}");
    assert!(matches!(read(b"not a capture at all"), Err(ReadError::Bad { at: 0, .. })));
    let mut long = bytes;
    long[4..8].copy_from_slice(&0xFFFF_FFF0_u32.to_le_bytes());
    assert!(matches!(read(&long), Err(ReadError::Bad { at: 0, what: "a block longer than 4 MiB" })));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..400) {
        // Bytes alone seldom get past the first header: damage to a good file goes deeper.
        let mut damaged = file(&[(1, vec![7; 60]), (2, vec![8; 61])]);
        let at = at.min(damaged.len());
        let end = (at + bytes.len()).min(damaged.len());
        damaged[at..end].copy_from_slice(&bytes[..end - at]);
        let _ = read(&bytes);
        let _ = read(&damaged);
    }
}
