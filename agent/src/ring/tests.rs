//! The ring's promises: what goes first, what is counted, what a restart finds, and that nobody waits for its disk.

use std::{fs, io::Write};

use nodewatch_pcapng as pcapng;
use nodewatch_protocol::{Amount, Recorder, Update};

use super::{listing::Listing, *};

mod left;
mod room;

const WALL: u64 = 1_700_000_000_000;

pub(crate) fn record(name: &str, sequence: u64) -> FileRecord {
    let file = CaptureFile {
        name: name.into(),
        sequence,
        size: 40,
        packets: 1,
        started: 0,
        ended: 0,
        state: FileState::Closed,
        dropped: Dropped::default(),
        incomplete: String::new(),
        sha256: None,
        delivery: Delivery::Held,
        fetched: false,
        since: 0,
    };
    FileRecord {
        file,
        capture: 7,
        place: FilePlace::Kept,
        span: Some(BootSpan::default()),
        frozen: false,
        cause: None,
        asked: false,
    }
}

fn delivered() -> Delivery {
    Delivery::Delivered { key: "k".into(), size: 40, unproved: false }
}

pub(crate) fn capture(ring_bytes: u64) -> CaptureRecord {
    let spec = CaptureSpec { ring_bytes, ..CaptureSpec::default() };
    CaptureRecord { since: 7, interfaces: vec!["eth0".into()], spec, ended: None, boot: 0, resumes: None }
}

/// A file with so many packets of 100 bytes, its counts at its end where it is `whole`.
pub(crate) fn bytes(packets: u64, whole: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    pcapng::section_header(&mut bytes, &pcapng::SectionBlock { hardware: "n", application: "t", comments: &[] });
    let interface = pcapng::InterfaceBlock { name: "eth0", link_type: 1, snaplen: 100, filter: None, description: "" };
    pcapng::interface_description(&mut bytes, &interface);
    for _ in 0..packets {
        pcapng::enhanced_packet(&mut bytes, 0, 5_000_000_000, 100, [&[0; 100]], &[]);
    }
    if whole {
        let counts = pcapng::StatisticsBlock {
            interface: 0,
            at: 6_000_000_000,
            since: 0,
            received: packets + 5,
            dropped_by_interface: 1,
            dropped_by_kernel: 2,
            delivered: packets,
            comment: "incomplete: a gap",
        };
        pcapng::interface_statistics(&mut bytes, &counts);
    }
    bytes
}

fn begin(ring: &Ring, name: &str, place: FilePlace) -> File {
    let beginning = Beginning { name: name.into(), started: 1, place, ..Beginning::default() };
    ring.begin(beginning).expect("begun")
}

/// A file with so many packets, closed or as a crash leaves it.
fn write(ring: &Ring, name: &str, packets: u64, close: bool) {
    let bytes = bytes(packets, false);
    let mut room = ring.make_room(bytes.len() as u64).expect("room");
    let mut file = begin(ring, name, FilePlace::Kept);
    file.write_all(&bytes).expect("written");
    room.spend(name, bytes.len() as u64, packets);
    if close {
        let dropped = Dropped { kernel: 3, ..Dropped::default() };
        ring.close(name, &Ending { ended: 2, dropped, ..Ending::default() }).expect("closed");
    } else {
        file.write_all(&[6, 0, 0, 0, 40]).expect("written");
    }
}

fn open(folder: &tempfile::TempDir) -> Ring {
    Ring::open(Store::open(folder.path()).expect("a folder"), "node-1").expect("a ring")
}

pub(crate) fn flush(ring: &Ring, within: Duration) -> bool {
    ring.wait_remembered(within)
}

fn close_down(ring: Ring) {
    assert!(flush(&ring, Duration::from_secs(60)));
    drop(ring);
}

fn list(records: impl IntoIterator<Item = FileRecord>, captures: Vec<CaptureRecord>) -> List {
    let files = records.into_iter().collect();
    List::new(RingList { files, captures, ..RingList::default() })
}

fn freeze(id: u64, from: u64, to: u64) -> PendingFreeze {
    PendingFreeze { id, capture: 7, from: WALL + from, to: WALL + to, span: BootSpan { from, to }, cause: None }
}

#[test]
fn what_can_never_be_delivered_is_counted_once_and_not_offered_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    write(&ring, "a.pcapng", 2, true);
    write(&ring, "b.pcapng", 1, true);
    for reason in ["refused", "refused again"] {
        ring.set_delivery("a.pcapng", Delivery::Lost { reason: reason.into() });
    }
    let state = ring.state(SinkState::Own);
    assert_eq!((state.lost.files, state.lost.packets, state.queued.files), (1, 2, 1));
    assert_eq!(ring.to_deliver().len(), 1);
    // Another bucket takes it.
    ring.set_delivery("a.pcapng", delivered());
    let state = ring.state(SinkState::Own);
    assert_eq!((state.lost, state.delivered.files), (Amount::default(), 1));
}

#[test]
fn a_file_is_in_one_count_whichever_way_it_goes_and_what_was_wanted_gone_in_none() {
    let lost = || Delivery::Lost { reason: "its bytes are gone".into() };
    let unproved = || Delivery::Delivered { key: "k".into(), size: 40, unproved: true };
    let counts = |list: &List| [list.head.discarded.files, list.head.lost.files, list.head.delivered.files];
    let one = || list([record("a-1.pcapng", 1)], vec![]);

    let mut gone = one();
    gone.went(1, Going::Full);
    assert!(!gone.set_delivery("a-1.pcapng", lost()), "nothing more is to be said");
    assert_eq!(counts(&gone), [1, 0, 0]);
    gone.set_delivery("a-1.pcapng", unproved());
    gone.set_fetched("a-1.pcapng");
    assert_eq!(counts(&gone), [0, 0, 1], "it got there all the same");

    let mut fetched = one();
    fetched.set_fetched("a-1.pcapng");
    assert!(fetched.set_delivery("a-1.pcapng", lost()));
    assert_eq!(counts(&fetched), [0, 0, 0]);
    let mut late = one();
    late.set_delivery("a-1.pcapng", lost());
    assert_eq!(counts(&late), [0, 1, 0]);
    late.set_fetched("a-1.pcapng");
    late.set_delivery("a-1.pcapng", delivered());
    assert_eq!(counts(&late), [0, 0, 1]);

    let mut asked = one();
    asked.insert(record("b-2.pcapng", 2));
    asked.went(1, Going::Full);
    asked.went(2, Going::Asked);
    assert_eq!(counts(&asked), [1, 0, 0]);
    assert_eq!(asked.messages().len(), 1, "of the one that nobody wanted gone");
    asked.set_fetched("b-2.pcapng");
    asked.set_delivery("b-2.pcapng", delivered());
    assert_eq!(counts(&asked), [1, 0, 1], "the other one's loss stands");

    let mut taken = one();
    taken.set_delivery("a-1.pcapng", unproved());
    taken.went(1, Going::Full);
    assert_eq!(counts(&taken), [0, 0, 1]);
    let said = taken.messages();
    assert!(said[0].contains("before its delivery to S3 was confirmed"), "{said:?}");
}

#[test]
fn a_volume_bounds_what_a_capture_may_ask_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    ring.limit_volume(700);
    ring.capture_began(capture(1000), false);
    assert_eq!(ring.limit(), 700);
    write(&ring, "a.pcapng", 3, true);
    write(&ring, "b.pcapng", 3, true);
    assert!(ring.state(SinkState::Ring).used <= 700);
    assert_eq!(ring.list().discarded.files, 1);
}

#[test]
fn a_small_bound_of_the_next_capture_costs_the_one_before_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    ring.capture_began(capture(10_000), false);
    for name in ["a.pcapng", "b.pcapng", "c.pcapng"] {
        write(&ring, name, 3, true);
    }
    ring.set_fetched("a.pcapng");
    ring.capture_ended(8, StopReason::Asked);
    ring.capture_began(CaptureRecord { since: 9, ..capture(700) }, false);
    for name in ["d.pcapng", "e.pcapng", "f.pcapng"] {
        write(&ring, name, 3, true);
    }
    let names: Vec<String> = ring.files().into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["b.pcapng", "c.pcapng", "f.pcapng"], "its own go, and what a laptop has");
    let state = ring.state(SinkState::Ring);
    assert!(state.used <= state.limit && state.limit < 2000, "{state:?}");
    // The volume's bound is everybody's.
    ring.limit_volume(700);
    write(&ring, "g.pcapng", 3, true);
    assert_eq!(ring.files().len(), 1);
}

#[test]
fn room_is_given_once_and_nothing_goes_for_scratch() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    ring.capture_began(capture(1000), false);
    write(&ring, "a.pcapng", 3, true);
    let used = ring.state(SinkState::Ring).used;
    assert!(ring.reserve_scratch(1001 - used).is_none(), "nothing goes for it");
    let scratch = ring.reserve_scratch(1000 - used).expect("room");
    assert_eq!(ring.state(SinkState::Ring).used, 1000);
    drop(scratch);
    assert_eq!(ring.state(SinkState::Ring).used, used);
    let first = ring.make_room(600).expect("a.pcapng goes");
    assert_eq!(ring.files(), []);
    assert!(matches!(ring.make_room(600), Err(StoreError::Full { bytes: 600, limit: 1000 })), "it is taken");
    assert_eq!(ring.state(SinkState::Ring).used, 600);
    drop(first);
    assert!(ring.make_room(600).is_ok());
}

#[test]
fn a_restarted_ring_knows_its_files_and_its_capture_and_marks_the_torn_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    let named = ring.list().ring;
    ring.capture_began(capture(1000), false);
    write(&ring, "a.pcapng", 1, true);
    ring.set_delivery("a.pcapng", delivered());
    write(&ring, "b.pcapng", 2, false);
    close_down(ring);
    fs::write(folder.path().join("c.pcapng"), b"").expect("written");

    let ring = open(&folder);
    assert_eq!((ring.list().ring, named.len()), (named, 16));
    assert_eq!(ring.interrupted(), Some(capture(1000)));
    let files = ring.files();
    assert_eq!(files.len(), 2, "the empty one is gone");
    assert!(files[0].delivery.is_delivered() && files[0].incomplete.is_empty());
    assert_eq!((files[0].dropped.kernel, files[1].packets, files[1].state), (3, 2, FileState::Closed));
    assert!(files[1].incomplete.contains("was stopped while writing"), "{}", files[1].incomplete);
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
    assert_eq!(ring.to_deliver().len(), 1);
    // Numbers go on.
    write(&ring, "d.pcapng", 1, true);
    assert!(ring.files()[2].sequence > files[1].sequence);
}

#[test]
fn a_list_that_is_lost_is_said_and_whole_files_stay_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    close_down(open(&folder));
    let name = "20231114T221320.123456Z-0041.pcapng";
    fs::write(folder.path().join(name), bytes(3, true)).expect("written");
    for list in ["manifest.json", "manifest.json.1"] {
        fs::write(folder.path().join(list), b"").expect("written");
    }
    let ring = open(&folder);
    let said = ring.messages();
    assert!(said[0].contains("file index is lost"), "{said:?}");
    let files = ring.files();
    assert_eq!(fs::read(folder.path().join(name)).expect("read"), bytes(3, true));
    let dropped = Dropped { kernel: 2, interface: 1, queue: 3 };
    assert_eq!((files[0].packets, files[0].sequence, files[0].dropped), (3, 41, dropped));
    assert_eq!((files[0].started, files[0].incomplete.as_str()), (WALL + 123, "incomplete: a gap"));
    assert_eq!(ring.sequence().take(), 42);
}

#[test]
fn a_file_whose_bytes_are_not_those_in_the_list_is_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    write(&ring, "a.pcapng", 3, true);
    ring.set_fetched("a.pcapng");
    close_down(ring);
    let path = folder.path().join("a.pcapng");
    let whole = fs::read(&path).expect("read");
    fs::write(&path, &whole[..whole.len() - 100]).expect("cut");
    let ring = open(&folder);
    let file = &ring.files()[0];
    assert_eq!((file.packets, file.fetched), (2, false));
    assert!(file.incomplete.contains("was stopped while writing"), "{}", file.incomplete);
}

#[test]
fn a_file_without_a_packet_goes_when_it_is_closed_unless_it_tells_of_a_loss() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    for (name, kernel, incomplete) in [("a.pcapng", 0, ""), ("b.pcapng", 1, ""), ("c.pcapng", 0, "incomplete: gap")] {
        begin(&ring, name, FilePlace::Kept).write_all(&bytes(0, false)).expect("written");
        let dropped = Dropped { kernel, ..Dropped::default() };
        ring.close(name, &Ending { dropped, incomplete: incomplete.into(), ..Ending::default() }).expect("closed");
    }
    let names: Vec<String> = ring.to_deliver().into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["b.pcapng", "c.pcapng"]);
    assert!(!folder.path().join("a.pcapng").exists());
    assert_eq!(ring.list().discarded, Amount::default());
}

fn recorder(folder: &tempfile::TempDir, clock: &Clock) -> Ring {
    let ring = Ring::open_by(Store::open(folder.path()).expect("a folder"), "n", clock.clone()).expect("a ring");
    let spec =
        CaptureSpec { recorder: Some(Recorder { seconds: 60.into(), bytes: 1 << 20 }), ..CaptureSpec::default() };
    ring.capture_began(CaptureRecord { spec, boot: clock.boot().as_millis(), ..capture(1000) }, false);
    ring
}

/// The recorder's piece of the next ten seconds.
fn piece(ring: &Ring, clock: &Clock, name: &str) {
    let beginning = Beginning {
        name: name.into(),
        started: clock.unix_millis(),
        boot: clock.boot().as_millis(),
        place: FilePlace::Recorder,
        ..Beginning::default()
    };
    ring.begin(beginning).expect("begun").write_all(&bytes(1, true)).expect("written");
    ring.insist_on_room(100).expect("room").spend(name, 100, 1);
    clock.advance(Duration::from_secs(10));
    let ending = Ending { ended: clock.unix_millis(), boot: clock.boot().as_millis(), ..Ending::default() };
    ring.close(name, &ending).expect("closed");
}

fn pieces(ring: &Ring) -> Vec<String> {
    let all = ring.pieces(&freeze(0, 0, u64::MAX / 4));
    all.into_iter().map(|record| record.file.name).collect()
}

#[test]
fn a_recorder_forgets_by_age_and_size_whatever_the_wall_says_but_not_what_is_to_be_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::standing(1_000_000, WALL);
    let ring = recorder(&folder, &clock);
    let names = ["1.pcapng", "2.pcapng", "3.pcapng", "4.pcapng"];
    for (name, set) in names.into_iter().zip([0, 3_600_000, -7_200_000, 0]) {
        // Somebody sets the clock, both ways.
        clock.set_wall(clock.unix_millis().saturating_add_signed(set));
        piece(&ring, &clock, name);
    }
    assert_eq!(ring.files(), vec![], "a recorder's memory is nobody's file");
    let keep = |ring: &Ring, seconds, bytes| {
        ring.prune_recorder(ring.clock().boot() - Duration::from_secs(seconds), bytes);
    };
    keep(&ring, 60, 1000);
    assert_eq!(pieces(&ring), names, "none of them is older than 40 s");
    // The last 22 s, that is some of 2, 3 and 4.
    let saved = ring.add_freeze(Duration::from_secs(18), Duration::from_secs(4)).expect("few wait");
    assert_eq!(ring.freezes(), [saved]);
    keep(&ring, 0, 0);
    assert_eq!(pieces(&ring), names[1..]);
    assert_eq!(ring.pieces(&saved).len(), 3);
    ring.drop_freeze(saved.id);
    assert_eq!(ring.freezes(), []);
    keep(&ring, 60, 150);
    assert_eq!(pieces(&ring), names[3..]);
    assert_eq!(ring.list().discarded, Amount::default());
    assert_eq!(ring.list().files.len(), 1, "what went leaves no record");
}

#[test]
fn a_freeze_takes_nothing_of_an_earlier_recorder_that_kept_other_packets() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::standing(1_000_000, WALL);
    let ring = recorder(&folder, &clock);
    piece(&ring, &clock, "1.pcapng");
    let spec = |filter: &str| CaptureSpec {
        filter: Some(filter.into()),
        recorder: Some(Recorder { seconds: 60.into(), bytes: 1 << 20 }),
        ..CaptureSpec::default()
    };
    let mut since = 1_000;
    for (filter, name) in [("udp", "2.pcapng"), ("udp", "3.pcapng")] {
        ring.capture_ended(clock.unix_millis(), StopReason::Asked);
        since += 1_000;
        let record = CaptureRecord { spec: spec(filter), since, boot: clock.boot().as_millis(), ..capture(1000) };
        ring.capture_began(record, false);
        piece(&ring, &clock, name);
    }
    let freeze = ring.add_freeze(Duration::from_secs(60), Duration::ZERO).expect("few wait");
    let taken: Vec<String> = ring.pieces(&freeze).into_iter().map(|record| record.file.name).collect();
    assert_eq!(taken, ["2.pcapng", "3.pcapng"], "the same packets, though it was stopped and started");
}

#[test]
fn freezes_are_few_and_go_on_after_a_restart_only_with_their_capture() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::standing(1_000_000, WALL);
    let ring = recorder(&folder, &clock);
    piece(&ring, &clock, "1.pcapng");
    let second = Duration::from_secs(1);
    let waiting = std::iter::from_fn(|| ring.add_freeze(second, second)).count();
    assert!(waiting > 1 && waiting < 100);
    let freezes = ring.freezes();
    close_down(ring);

    let reopen = || Ring::open_by(Store::open(folder.path()).expect("a folder"), "n", clock.clone()).expect("a ring");
    let ring = reopen();
    assert_eq!(ring.freezes(), freezes);
    let mut again = ring.interrupted().expect("it was not ended");
    again.since += 5;
    ring.capture_began(again, true);
    assert_eq!(ring.freezes().len(), waiting, "the same capture goes on");
    assert_eq!(ring.list().captures.last().and_then(|capture| capture.resumes), Some(7));
    ring.capture_ended(WALL, StopReason::Asked);
    close_down(ring);

    let ring = reopen();
    assert_eq!(ring.freezes(), []);
    assert!(ring.messages().iter().any(|said| said.contains("a freeze of 2 s was not saved")));
}

#[test]
fn a_boot_of_the_node_begins_its_clock_anew_and_spans_are_told_by_the_wall() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::standing(1_000_000, WALL);
    let ring = recorder(&folder, &clock);
    piece(&ring, &clock, "1.pcapng");
    let freeze = ring.add_freeze(Duration::from_secs(8), Duration::from_secs(600)).expect("added");
    assert!(flush(&ring, Duration::from_secs(60)));
    let mut list = ring.list();
    drop(ring);
    list.boot = "another".into();
    let store = Store::open(folder.path()).expect("a folder");
    // Down for 20 s, then up for 30 s.
    let clock = Clock::standing(30_000, WALL + 10_000 + 50_000);
    let lock = store.lock().expect("the one before has ended");
    store.write_list(&list).expect("written");
    drop(lock);
    let ring = Ring::open_by(store, "n", clock).expect("a ring");
    let span = BootSpan { from: 0, to: 580_000 };
    assert_eq!(ring.freezes(), [PendingFreeze { span, ..freeze }]);
    assert_eq!(ring.pieces(&ring.freezes()[0]).len(), 1, "what was before the boot is not passed over");
}

#[test]
fn many_small_files_stay_and_are_told_in_parts_and_by_what_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    close_down(open(&folder));
    let store = Store::open(folder.path()).expect("a folder");
    let count = 6000;
    let mut list = store.latest_list().expect("a list");
    for sequence in 1..=count {
        let name = store::file_name(WALL, 0, sequence);
        let content = [0; 40];
        fs::write(folder.path().join(&name), content).expect("written");
        list.files.push(record(&name, sequence));
    }
    let lock = store.lock().expect("the one before has ended");
    store.write_list(&list).expect("written");
    drop(lock);
    let ring = open(&folder);
    assert_eq!(ring.state(SinkState::Ring).queued.files, count);
    let mut told = Listing::default();
    let picture = Listing::picture(&ring);
    assert!(picture.len() > 1 && matches!(picture.last(), Some(Update::Files(_))));
    let parts = picture.iter().map(|update| match update {
        Update::FilesPart(files) | Update::Files(files) => files.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(parts.sum::<usize>(), count as usize);
    told.news(&ring);
    assert_eq!(told.news(&ring), [], "nothing is new");
    let last = store::file_name(WALL, 0, count);
    ring.set_fetched(&last);
    assert!(ring.remove(&store::file_name(WALL, 0, 1)).expect("removed"));
    match &told.news(&ring)[..] {
        [Update::FilesChanged { files, gone }] => {
            assert_eq!((files.len(), files[0].name.as_str(), gone.as_slice()), (1, last.as_str(), &[1][..]));
        }
        other => panic!("{other:?}"),
    }
    ring.capture_began(capture(1 << 30), false);
    write(&ring, "new.pcapng", 1, true);
    assert_eq!(ring.files().len(), count as usize, "none had to go for it");
}

#[test]
fn a_disk_that_stands_still_holds_up_nobody_but_who_writes_the_list() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    assert!(flush(&ring, Duration::from_secs(60)));
    // Opening a pipe that nobody reads waits as long as a disk that does not answer.
    let part = folder.path().join("manifest.part");
    rustix::fs::mknodat(rustix::fs::CWD, &part, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a pipe");
    ring.capture_began(capture(1000), false);
    for number in 0..100 {
        write(&ring, &format!("{number}.pcapng"), 1, true);
        ring.set_delivery(&format!("{number}.pcapng"), delivered());
    }
    assert!(ring.add_freeze(Duration::ZERO, Duration::ZERO).is_some() && ring.freezes().len() == 1);
    assert_eq!((ring.state(SinkState::Ring).delivered.files, ring.limit()), (100, 1000));
    assert!(!flush(&ring, Duration::from_millis(10)));
    // It moves again: what is lost in the pipe is written anew.
    let mut reader = File::open(&part).expect("open");
    std::io::copy(&mut reader, &mut std::io::sink()).expect("read");
    fs::remove_file(&part).ok();
    ring.remember_sink(None);
    assert!(flush(&ring, Duration::from_secs(60)));
    assert_eq!(ring.store().latest_list().expect("a list").delivered.files, 100);
}

#[test]
fn one_agent_uses_a_ring_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    let second = Ring::open(Store::open(folder.path()).expect("a folder"), "n");
    assert!(matches!(second, Err(StoreError::InUse { .. })));
    close_down(ring);
    open(&folder);
}

#[test]
fn what_is_forgotten_with_packets_in_it_is_remembered_by_its_number() {
    let piece = |sequence, packets| {
        let mut one = FileRecord { place: FilePlace::Recorder, ..record(&format!("{sequence}.pcapng"), sequence) };
        one.file.packets = packets;
        one
    };
    let kept = record("4.pcapng", 4);
    let mut list = list([piece(1, 3), piece(2, 3), piece(3, 0), kept], vec![capture(1)]);
    for sequence in 1..=3 {
        list.went(sequence, Going::Outdated);
    }
    list.went(4, Going::Full);
    assert_eq!(list.snapshot().listed().forgotten, [(7, 2)].into(), "the third had none, the fourth is listed");
}
