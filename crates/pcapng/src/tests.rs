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
fn what_was_lost_before_a_packet_is_said_with_it() {
    let (mut bytes, mut options) = (Vec::new(), Vec::new());
    section_header(&mut bytes, &SectionBlock { hardware: "", application: "t", comments: &[] });
    let interface = InterfaceBlock { name: "eth0", link_type: 1, snaplen: 0, filter: None, description: "" };
    interface_description(&mut bytes, &interface);
    packets_before(&mut options, 77);
    enhanced_packet(&mut bytes, 0, 1, 4, [&[1; 4]], &options);
    enhanced_packet(&mut bytes, 0, 2, 4, [&[1; 4]], &[]);
    let (mut parser, mut lost) = (Parser::default(), Vec::new());
    parser.push(&bytes);
    while let Some(block) = parser.next_block().expect("whole") {
        if let Block::Packet(packet) = block {
            lost.push(lost_before(packet.options));
        }
    }
    assert_eq!(lost, [77, 0]);
}

/// Bytes of a pipe, of which no more than these have come.
struct Come<'a>(&'a [u8]);

impl std::io::Read for Come<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        assert!(!self.0.is_empty(), "a read that waits");
        self.0.read(into)
    }
}

#[test]
fn a_block_that_has_come_is_not_waited_for() {
    let bytes = file(&[(1, vec![1; 60]), (2, vec![2; 60])]);
    let mut reader = Reader::new(Come(&bytes));
    // The section, its interface, two packets and the statistics.
    for _ in 0..5 {
        assert!(reader.next_block().expect("whole").is_some());
    }
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

/// A block in either byte order.
fn block_of(kind: u32, body: &[u8], big_endian: bool) -> Vec<u8> {
    let word = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let padded = [body, &[0; 3][..body.len().next_multiple_of(4) - body.len()]].concat();
    let total = word(padded.len() as u32 + 12);
    [&word(kind), total.as_slice(), &padded, &total].concat()
}

fn option_of(code: u16, value: &[u8], big_endian: bool) -> Vec<u8> {
    let half = |number: u16| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let padding = &[0; 3][..value.len().next_multiple_of(4) - value.len()];
    [&half(code), half(value.len() as u16).as_slice(), value, padding].concat()
}

/// A file whose every number has its byte order, with all kinds of options and blocks.
fn everything(big_endian: bool) -> Vec<u8> {
    let word = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let half = |number: u16| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let long = |number: u64| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let option = |code, value: &[u8]| option_of(code, value, big_endian);
    let block = |kind, body: &[u8]| block_of(kind, body, big_endian);
    let section = [word(BYTE_ORDER_MAGIC).as_slice(), &half(1), &half(0), &[0xFF; 8]].concat();
    let interface = [
        half(1).as_slice(),
        &half(0),
        &word(96),
        &option(2, b"eth0"),
        &option(3, b"a card"),
        &option(4, &[10, 0, 0, 1, 255, 0, 0, 0]),
        &option(8, &long(1_000_000_000)),
        &option(9, &[6]),
        &option(13, &[4]),
        &option(14, &long(77)),
        &option(32_000, b"unknown"),
        &option(2988, &[word(32_473).as_slice(), b"text"].concat()),
    ]
    .concat();
    let verdict = [&[2][..], &long(2)].concat();
    let packet = [
        word(0).as_slice(),
        &word(0),
        &word(1_500_000),
        &word(3),
        &word(60),
        &[1, 2, 3, 0],
        &option(1, b"a comment"),
        &option(2, &word(0x21)),
        &option(3, &[2, 0xDE, 0xAD, 0xBE, 0xEF]),
        &option(4, &long(5)),
        &option(5, &long(6)),
        &option(6, &word(7)),
        &option(7, &verdict),
        &option(2989, &[word(32_473).as_slice(), &[1, 2]].concat()),
        // One that its maker does not want to be copied, and one that cannot be.
        &option(19_373, &[word(32_473).as_slice(), &[1, 2]].concat()),
        &option(2, &[1, 2, 3]),
        &option(0, b""),
    ]
    .concat();
    // Interface, packets lost before it, time, lengths.
    let obsolete =
        [half(0).as_slice(), &half(9), &word(0), &word(1), &word(1), &word(1), &[7, 0, 0, 0], &option(2, &word(1))]
            .concat();
    let secrets = [word(0x544C_534B).as_slice(), &word(5), b"keys\n\0\0\0", &option(1, b"whose")].concat();
    let names = [option(1, b"\x0A\0\0\x01one\0two\0"), option(1, b"short"), option(0, b""), option(2, b"dns")].concat();
    let custom = [word(32_473).as_slice(), b"note"].concat();
    [
        block(SECTION_HEADER, &section),
        block(INTERFACE_DESCRIPTION, &interface),
        block(SECRETS, &secrets),
        block(NAME_RESOLUTION, &names),
        block(CUSTOM, &custom),
        block(0x4000_0BAD, &custom),
        block(ENHANCED_PACKET, &packet),
        block(OBSOLETE_PACKET, &obsolete),
        block(SIMPLE_PACKET, &[word(2).as_slice(), &[8, 9, 0, 0]].concat()),
    ]
    .concat()
}

#[test]
fn a_big_endian_file_says_all_that_a_little_endian_one_says() {
    let (little, big) = (everything(false), everything(true));
    let (mut little, mut big) = (Reader::new(little.as_slice()), Reader::new(big.as_slice()));
    let mut kinds = Vec::new();
    loop {
        let (ours, theirs) = (little.next_block().expect("whole"), big.next_block().expect("whole"));
        assert_eq!(ours, theirs);
        match ours {
            None => break,
            Some(Block::Interface(interface)) => {
                assert_eq!((interface.name.as_str(), interface.description.as_str()), ("eth0", "a card"));
                // What is left are the address, the speed, the check sequence, and what is not known.
                let codes: Vec<u16> =
                    options::Options::new(&interface.options, options::Order::Little).map(|(code, _)| code).collect();
                assert_eq!(codes, [4, 8, 13, 32_000, 2988]);
            }
            Some(Block::Packet(packet)) => {
                let codes: Vec<u16> =
                    options::Options::new(packet.options, options::Order::Little).map(|(code, _)| code).collect();
                let wanted: &[u16] = match packet.data {
                    [1, ..] => &[1, 2, 3, 4, 5, 6, 7, 2989],
                    [7] => &[4, 2],
                    _ => &[],
                };
                assert_eq!(codes, wanted);
                assert_eq!(packet.time.is_none(), packet.data == [8, 9]);
            }
            Some(Block::Other(other)) => kinds.push((other.kind, other.anew.is_empty())),
            Some(Block::Section(_) | Block::Statistics(_)) => {}
        }
    }
    assert_eq!(kinds, [(SECRETS, false), (NAME_RESOLUTION, false), (CUSTOM, false), (0x4000_0BAD, true)]);
    // The short flags and the name without its end, which comes first; the option that stays where it is.
    let lost = big.parser().lost();
    assert_eq!((lost.damaged, lost.kept_back), (2, 1));
    assert!(lost.first_at > 0 && lost == little.parser().lost(), "{lost:?}");
}

#[test]
fn an_option_that_does_not_fit_is_not_handed_on() {
    let mut bytes = file(&[]);
    let options = [option_of(1, b"good", false), [1, 0, 0xFF, 0xFF].to_vec(), b"abcd".to_vec()].concat();
    enhanced_packet(&mut bytes, 0, 1, 4, [&[1, 2, 3, 4]], &options);
    let mut reader = Reader::new(bytes.as_slice());
    let mut found = Vec::new();
    while let Some(block) = reader.next_block().expect("whole") {
        if let Block::Packet(packet) = block {
            found.extend_from_slice(packet.options);
        }
    }
    assert_eq!(found, [option_of(1, b"good", false), vec![0; 4]].concat());
    assert_eq!(reader.parser().lost().damaged, 1);
}

#[test]
fn a_length_without_its_padding_is_taken() {
    let mut bytes = file(&[]);
    let mut packet = Vec::new();
    enhanced_packet(&mut packet, 0, 1, 3, [&[1, 2, 3]], &[]);
    let end = packet.len() - 4;
    packet[4] -= 1;
    packet[end] -= 1;
    bytes.extend(packet);
    assert_eq!(read(&bytes).expect("whole").len(), 1);
}

#[test]
fn what_was_read_before_the_source_failed_is_handed_out() {
    struct Failing<'a>(&'a [u8]);
    impl std::io::Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() { Err(std::io::Error::other("cut")) } else { self.0.read(buffer) }
        }
    }
    let bytes = file(&[(1, vec![7; 60]), (2, vec![8; 61])]);
    let mut reader = Reader::new(Failing(&bytes));
    let mut packets = 0;
    let error = loop {
        match reader.next_block() {
            Ok(Some(Block::Packet(_))) => packets += 1,
            Ok(block) => assert!(block.is_some(), "it did not end well"),
            Err(error) => break error,
        }
    };
    assert_eq!(packets, 2);
    assert!(matches!(error, ReadError::Read { at, .. } if at == bytes.len() as u64), "{error}");
}
