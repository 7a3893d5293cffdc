//! What a stream holds, in which order, and what it says of the rest.

use nodewatch_pcapng::{Block, InterfaceBlock, Parser, enhanced_packet, interface_description};
use nodewatch_protocol::{CaptureFile, CaptureSpec, Delivery, Dropped};

use super::*;

/// A ring's folder with a list that the test writes.
struct Folder {
    place: tempfile::TempDir,
    store: Store,
    list: RingList,
}

impl Folder {
    /// Of a capture that began at 7 and has ended.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a ring");
        let mut new = Self { place: folder, store, list: RingList::default() };
        new.capture(7, Some((99, StopReason::Asked)));
        new
    }

    fn capture(&mut self, since: UnixMillis, ended: Option<(UnixMillis, StopReason)>) {
        let record =
            CaptureRecord { since, interfaces: vec![], spec: CaptureSpec::default(), ended, boot: 0, resumes: None };
        self.list.captures.push(record);
    }

    /// A closed file of these packets' times; its name sorts as `name` says.
    fn file(&mut self, sequence: u64, name: &str, nanos: &[u64]) -> &mut FileRecord {
        let mut bytes = Vec::new();
        section_header(&mut bytes, &SectionBlock { hardware: "n", application: "t", comments: &[] });
        let interface = InterfaceBlock { name: "eth0", link_type: 1, snaplen: 0, filter: None, description: "" };
        interface_description(&mut bytes, &interface);
        for &nanos in nanos {
            enhanced_packet(&mut bytes, 0, nanos, 4, [&[1; 4]], &[]);
        }
        self.store.create(name).expect("created").write_all(&bytes).expect("written");
        let file = CaptureFile {
            name: name.into(),
            sequence,
            size: bytes.len() as u64,
            packets: nanos.len() as u64,
            started: 10,
            ended: 20,
            state: FileState::Closed,
            dropped: Dropped::default(),
            incomplete: String::new(),
            sha256: None,
            delivery: Delivery::Held,
            fetched: false,
            since: 0,
        };
        let (place, span) = (FilePlace::Kept, None);
        self.list.files.push(FileRecord { file, capture: 7, place, span, frozen: false, cause: None, asked: false });
        self.list.files.last_mut().expect("pushed")
    }

    fn follow(&self, from: From) -> (Missed, Vec<u64>, Vec<StreamMark>) {
        self.store.write_list(&self.list).expect("written");
        let mut stream = Vec::new();
        let missed = follow(&self.store, &from, &mut stream).expect("a stream");
        let (mut packets, mut marks) = (Vec::new(), Vec::new());
        let mut parser = Parser::default();
        parser.push(&stream);
        while let Some(block) = parser.next_block().expect("whole blocks") {
            match block {
                Block::Section(section) => {
                    marks.extend(section.comments.iter().filter_map(|text| StreamMark::of(text)));
                }
                Block::Packet(packet) => packets.push(packet.nanos),
                _ => {}
            }
        }
        (missed, packets, marks)
    }
}

const ALL: From = From { since: 0, capture: Some(7), rate: None };

#[test]
fn files_come_by_their_sequence_whatever_their_names_say() {
    let mut folder = Folder::new();
    // A clock that was set back twice.
    folder.file(1, "20260101T120000.000000Z-0001.pcapng", &[1, 2]);
    folder.file(2, "20260101T110000.000000Z-0002.pcapng", &[3]);
    folder.file(3, "20260101T100000.000000Z-0003.pcapng", &[4, 5]);
    let (missed, packets, marks) = folder.follow(ALL);
    assert_eq!((missed, packets), (Missed::default(), vec![1, 2, 3, 4, 5]));
    let files = [1, 2, 3].map(StreamMark::File);
    assert_eq!(marks, [&[StreamMark::Capture(7)][..], &files, &[StreamMark::End]].concat());
}

#[test]
fn what_went_unread_is_counted_and_marked_in_its_place() {
    let mut folder = Folder::new();
    folder.file(1, "1.pcapng", &[1]);
    folder.file(2, "2.pcapng", &[2, 3]).place = FilePlace::Gone;
    // Listed, and no longer there: it goes just now.
    folder.file(3, "3.pcapng", &[4, 5, 6]);
    folder.store.remove("3.pcapng").expect("removed");
    folder.file(4, "4.pcapng", &[7]);
    let (missed, packets, marks) = folder.follow(ALL);
    assert_eq!(missed, Missed { files: 2, packets: 5, more: false });
    assert_eq!(missed.to_string(), "the stream lacks 5 packets of 2 files");
    assert_eq!(packets, [1, 7]);
    let of = |mark: &StreamMark| match mark {
        StreamMark::Missed { sequence, packets, .. } => Some((*sequence, *packets)),
        _ => None,
    };
    assert_eq!(marks.iter().filter_map(of).collect::<Vec<_>>(), [(2, 2), (3, 3)]);
    assert!(
        matches!(marks[..3], [StreamMark::Capture(7), StreamMark::File(1), StreamMark::Missed { .. }]),
        "{marks:?}"
    );
}

#[test]
fn files_that_are_listed_no_more_are_missed_where_there_was_something_in_them() {
    let mut folder = Folder::new();
    folder.file(1, "1.pcapng", &[1]);
    folder.file(9, "9.pcapng", &[2]);
    let (missed, packets, marks) = folder.follow(ALL);
    assert_eq!((missed, packets), (Missed::default(), vec![1, 2]), "those between had no packets: {marks:?}");

    // Another capture's, and those that nobody asked for.
    folder.list.forgotten = [(6, 8), (8, 12)].into();
    assert!(folder.follow(ALL).0.is_nothing());
    folder.list.forgotten.insert(7, 5);
    assert!(folder.follow(From { since: 20, capture: Some(7), rate: None }).0.more, "it is after the first");
    let (missed, packets, marks) = folder.follow(ALL);
    assert_eq!((missed, packets), (Missed { more: true, ..Missed::default() }, vec![1, 2]));
    let forgotten = |marks: &[StreamMark]| marks.iter().filter(|mark| matches!(mark, StreamMark::Forgotten(_))).count();
    assert_eq!(forgotten(&marks), 1, "{marks:?}");

    folder.list.forgotten.insert(7, 10);
    let (missed, _, marks) = folder.follow(From { since: 20, capture: Some(7), rate: None });
    assert!(missed.more && forgotten(&marks) == 1, "also at the end: {marks:?}");
}

#[test]
fn a_recorder_that_is_followed_lacks_nothing_of_what_it_had_forgotten_before() {
    let mut folder = Folder::new();
    folder.list.captures[0].spec.recorder = Some(nodewatch_protocol::Recorder::default());
    folder.list.forgotten.insert(7, 5);
    assert!(folder.follow(ALL).0.is_nothing());
    folder.file(6, "6.pcapng", &[1]).place = FilePlace::Recorder;
    let (missed, packets, _) = folder.follow(ALL);
    assert_eq!((missed, packets), (Missed::default(), vec![1]));
}

#[test]
fn a_time_says_where_to_begin_and_leaves_out_nothing_that_comes_later() {
    let mut folder = Folder::new();
    folder.file(1, "1.pcapng", &[1]).file.ended = 1000;
    folder.file(2, "2.pcapng", &[2]).file.ended = 3000;
    // The clock was set back.
    folder.file(3, "3.pcapng", &[3]).file.ended = 500;
    let (missed, packets, _) = folder.follow(From { since: 2000, ..ALL });
    assert_eq!((missed, packets), (Missed::default(), vec![2, 3]));
}

#[test]
fn a_capture_that_went_on_after_a_restart_is_one_and_frozen_files_are_no_part_of_it() {
    let mut folder = Folder::new();
    folder.list.captures[0].ended = Some((50, StopReason::AgentEnds));
    folder.capture(50, Some((60, StopReason::Asked)));
    folder.capture(61, Some((70, StopReason::Asked)));
    folder.file(1, "1.pcapng", &[1]);
    folder.file(2, "2.pcapng", &[1]).frozen = true;
    folder.file(3, "3.pcapng", &[2]).capture = 50;
    folder.file(4, "4.pcapng", &[3]).capture = 61;
    assert_eq!(folder.follow(ALL).1, [1, 2]);
    assert_eq!(folder.follow(From { capture: Some(61), ..ALL }).1, [3]);
}

#[test]
fn a_torn_block_stays_out_and_what_cannot_be_read_is_said() {
    let mut folder = Folder::new();
    let name = folder.file(1, "1.pcapng", &[1, 2, 3]).file.name.clone();
    let path = folder.place.path().join(name);
    let length = std::fs::metadata(&path).expect("facts").len();
    std::fs::OpenOptions::new().write(true).open(&path).expect("open").set_len(length - 3).expect("cut");
    folder.file(2, "2.pcapng", &[4]);
    let (missed, packets, _) = folder.follow(ALL);
    assert_eq!((missed.packets, packets), (1, vec![1, 2, 4]));
}

#[test]
fn blocks_are_counted_as_far_as_they_are_whole() {
    let mut bytes = Vec::new();
    section_header(&mut bytes, &SectionBlock { hardware: "", application: "", comments: &[] });
    let head = bytes.len();
    enhanced_packet(&mut bytes, 0, 1, 8, [&[0; 8]], &[]);
    let whole = bytes.len();
    assert_eq!(whole_blocks(&bytes), WholeBlocks { bytes: whole, packets: 1 });
    assert_eq!(whole_blocks(&bytes[..whole - 1]), WholeBlocks { bytes: head, packets: 0 });
    for bad in [&[6, 0, 0, 0, 0, 0, 0, 0][..], &[6, 0, 0, 0, 13, 0, 0, 0], &[6, 0, 0, 0, 255, 255, 255, 255], &[1]] {
        assert_eq!(whole_blocks(bad), WholeBlocks { bytes: 0, packets: 0 });
    }
}

#[test]
fn a_list_is_read_again_when_it_has_been_written_and_only_then() {
    let folder = Folder::new();
    let store = Store::open(folder.place.path()).expect("a folder");
    store.write_list(&folder.list).expect("written");
    let mut list = List::of(&store);
    let first = list.look().expect("a list");
    assert!(Rc::ptr_eq(&first, &list.look().expect("a list")));
    store.write_list(&folder.list).expect("written again");
    assert!(!Rc::ptr_eq(&first, &list.look().expect("a list")));
}

#[test]
fn a_stream_to_look_at_has_the_latest_headers_and_says_how_many_it_lacks() {
    let mut folder = Folder::new();
    let nanos: Vec<u64> = (1..=100).collect();
    folder.file(1, "1.pcapng", &nanos);
    folder.file(2, "2.pcapng", &(101..=180).collect::<Vec<u64>>());
    folder.store.write_list(&folder.list).expect("written");
    let mut stream = Vec::new();
    let missed = follow(&folder.store, &From { rate: Some(50), ..ALL }, &mut stream).expect("a stream");
    assert!(missed.is_nothing(), "{missed}");
    let (mut parser, mut seen) = (Parser::default(), Vec::new());
    parser.push(&stream);
    while let Some(block) = parser.next_block().expect("whole blocks") {
        if let Block::Packet(packet) = block {
            seen.push((packet.nanos, nodewatch_pcapng::lost_before(packet.options)));
        }
    }
    // As many as go out in a second; what lies before the first is no news. How much of the second file still fits in
    // that second depends on how fast this machine is: its latest do, and none is uncounted.
    assert_eq!(seen[..50], (51..=100).map(|nanos| (nanos, 0)).collect::<Vec<_>>()[..]);
    let then = &seen[50..];
    assert!(then.len() >= 10 && then.last().is_some_and(|(nanos, _)| *nanos == 180), "{then:?}");
    assert_eq!(then.len() as u64 + then.iter().map(|(_, left_out)| left_out).sum::<u64>(), 80);
}
