//! The ring's promises: what goes first, what is counted, what a restart finds.

use std::{fs, io::Write};

use nodewatch_pcapng as pcapng;

use nodewatch_protocol::BootSpan;

use super::*;

fn record(name: &str, size: u64, state: FileState, delivery: Delivery) -> FileRecord {
    let file = CaptureFile {
        name: name.into(),
        sequence: 0,
        size,
        packets: 1,
        started: 0,
        ended: 0,
        state,
        dropped: Dropped::default(),
        incomplete: String::new(),
        sha256: None,
        delivery,
        fetched: false,
    };
    FileRecord { file, capture: 0, place: FilePlace::Kept, span: None, frozen: false }
}

fn delivered() -> Delivery {
    Delivery::Delivered { key: "k".into(), size: 40 }
}

#[test]
fn delivered_files_go_first_then_the_oldest_and_the_open_one_stays() {
    let files = [
        record("1", 40, FileState::Closed, Delivery::Sending { sent: 1 }),
        record("2", 40, FileState::Closed, Delivery::Held),
        record("3", 40, FileState::Closed, delivered()),
        record("4", 40, FileState::Open, Delivery::Held),
    ];
    assert_eq!(victims(&files, 160), Vec::<String>::new());
    assert_eq!(victims(&files, 120), ["3"]);
    assert_eq!(victims(&files, 80), ["3", "2"]);
    assert_eq!(victims(&files, 10), ["3", "2", "1"]);
}

fn capture() -> CaptureRecord {
    let spec = CaptureSpec { ring_bytes: 1000, ..CaptureSpec::default() };
    CaptureRecord { since: 7, interfaces: vec!["eth0".into()], spec, ended: None, boot: 0, resumes: None }
}

/// A file with so many packets of 100 bytes, closed or as a crash leaves it.
fn write(ring: &Ring, name: &str, packets: u64, close: bool) {
    let mut bytes = Vec::new();
    pcapng::section_header(&mut bytes, &pcapng::SectionBlock { hardware: "n", application: "t", comments: &[] });
    let interface = pcapng::InterfaceBlock { name: "eth0", link_type: 1, snaplen: 100, filter: None, description: "" };
    pcapng::interface_description(&mut bytes, &interface);
    for _ in 0..packets {
        pcapng::enhanced_packet(&mut bytes, 0, 5_000_000_000, 100, [&[0; 100]], &[]);
    }
    ring.make_room(bytes.len() as u64).expect("room");
    let mut file = ring.begin(name.into(), 1, FilePlace::Kept).expect("begun");
    file.write_all(&bytes).expect("written");
    ring.appended(name, bytes.len() as u64, packets);
    if close {
        ring.close(name, 2, Dropped { kernel: 3, ..Dropped::default() }, "");
    } else {
        file.write_all(&[6, 0, 0, 0, 40]).expect("written");
    }
}

fn open(folder: &tempfile::TempDir) -> Ring {
    Ring::open(Store::open(folder.path()).expect("a folder"), "node-1").expect("a ring")
}

#[test]
fn what_is_thrown_away_undelivered_is_counted_and_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    ring.capture_began(capture());
    write(&ring, "a.pcapng", 2, true);
    ring.set_delivery("a.pcapng", delivered());
    write(&ring, "b.pcapng", 3, true);
    write(&ring, "c.pcapng", 3, true);
    assert_eq!(ring.files().len(), 2, "the delivered one went");
    assert_eq!((ring.manifest().discarded, ring.messages()), (Amount::default(), vec![]));
    write(&ring, "d.pcapng", 3, true);
    ring.set_fetched("d.pcapng");
    let discarded = ring.manifest().discarded;
    assert_eq!((discarded.files, discarded.packets), (1, 3));
    let said = ring.messages();
    assert!(said[0].contains("oldest file b.pcapng with 3 packets was removed undelivered"), "{said:?}");
    assert!(ring.state(SinkState::Ring).used <= 1000);
    assert_eq!(ring.claim_queued().map(|file| file.name).as_deref(), Some("c.pcapng"));
    assert_eq!(ring.claim_queued().map(|file| file.name).as_deref(), Some("d.pcapng"));
    assert_eq!((ring.claim_queued(), ring.queued()), (None, 2));
    // What the laptop has goes before what nobody has, and is not lost.
    write(&ring, "e.pcapng", 1, true);
    assert!(!folder.path().join("d.pcapng").exists() && folder.path().join("c.pcapng").exists());
    assert_eq!(ring.manifest().discarded, discarded);
    assert!(!folder.path().join("b.pcapng").exists());
}

#[test]
fn a_volume_bounds_what_a_capture_may_ask_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    ring.limit_volume(700);
    ring.capture_began(capture());
    assert_eq!(ring.limit(), 700);
    write(&ring, "a.pcapng", 3, true);
    write(&ring, "b.pcapng", 3, true);
    assert!(ring.state(SinkState::Ring).used <= 700);
    assert_eq!(ring.manifest().discarded.files, 1);
}

#[test]
fn a_restarted_ring_knows_its_files_and_its_capture_and_marks_the_torn_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    ring.capture_began(capture());
    write(&ring, "a.pcapng", 1, true);
    ring.set_delivery("a.pcapng", delivered());
    write(&ring, "b.pcapng", 2, false);
    drop(ring);
    fs::write(folder.path().join("c.pcapng"), b"").expect("written");

    let ring = open(&folder);
    assert_eq!(ring.interrupted(), Some(capture()));
    let files = ring.files();
    assert_eq!(files.len(), 2, "the empty one is gone");
    assert!(files[0].delivery.is_delivered() && files[0].incomplete.is_empty());
    assert_eq!((files[0].dropped.kernel, files[1].packets, files[1].state), (3, 2, FileState::Closed));
    assert!(files[1].incomplete.contains("was stopped while it wrote"), "{}", files[1].incomplete);
    // The file itself says so too, and is whole.
    let bytes = fs::read(folder.path().join("b.pcapng")).expect("read");
    assert_eq!(bytes.len() as u64, files[1].size);
    let mut reader = pcapng::Reader::new(bytes.as_slice());
    let mut comments = Vec::new();
    while let Some(block) = reader.next_block().expect("whole") {
        if let pcapng::Block::Statistics(counts) = block {
            comments.extend(counts.comments);
        }
    }
    assert_eq!(comments, [files[1].incomplete.clone()]);
    assert_eq!(ring.claim_queued().map(|file| file.name).as_deref(), Some("b.pcapng"));
}

#[test]
fn a_recorder_forgets_by_age_and_size_but_not_what_is_to_be_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    for (name, ended) in [("1.pcapng", 10), ("2.pcapng", 20), ("3.pcapng", 30)] {
        let mut file = ring.begin(name.into(), ended - 10, FilePlace::Recorder).expect("begun");
        file.write_all(&[0; 100]).expect("written");
        ring.appended(name, 100, 1);
        ring.close(name, ended, Dropped::default(), "");
    }
    assert_eq!(ring.files(), vec![], "a recorder's memory is nobody's file");
    let span = PendingFreeze { id: 0, capture: 0, from: 15, to: 25, span: BootSpan::default() };
    ring.add_freeze(span);
    ring.prune_recorder(1000, 0).expect("pruned");
    let names = |ring: &Ring| -> Vec<String> {
        let all = ring.segments(PendingFreeze { from: 0, to: 100, ..span }).expect("opened");
        all.into_iter().map(|(file, _)| file.name).collect()
    };
    assert_eq!(names(&ring), ["2.pcapng", "3.pcapng"]);
    assert_eq!(ring.segments(span).expect("opened").len(), 2);
    ring.drop_freeze(span);
    ring.prune_recorder(0, 150).expect("pruned");
    assert_eq!(names(&ring), ["3.pcapng"]);
    assert_eq!(ring.manifest().discarded, Amount::default());
}
