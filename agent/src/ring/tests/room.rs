//! What goes first when the ring is full, and that one that cannot go holds nobody up.

use super::{super::room, *};

/// What goes, one after the other, until nothing can.
fn order(list: &mut List, bounds: Bounds) -> Vec<u64> {
    let mut gone = Vec::new();
    while let room::Room::After(sequence) = room::room(list, bounds, 1, &BTreeSet::new()) {
        list.went(sequence, Going::Full);
        gone.push(sequence);
    }
    gone
}

#[test]
fn what_goes_first_is_what_somebody_else_has_and_last_what_somebody_waits_for() {
    let recorder = |sequence: u64, capture, span: (u64, u64)| {
        let span = Some(BootSpan { from: span.0, to: span.1 });
        FileRecord { capture, place: FilePlace::Recorder, span, ..record(&sequence.to_string(), sequence) }
    };
    let with = |sequence: u64, change: &dyn Fn(&mut FileRecord)| {
        let mut record = record(&sequence.to_string(), sequence);
        change(&mut record);
        record
    };
    let records = [
        with(1, &|one| one.frozen = true),
        with(2, &|one| one.file.delivery = Delivery::Sending { sent: 1 }),
        recorder(3, 7, (100_000, 110_000)),
        recorder(4, 7, (110_000, 120_000)),
        recorder(5, 6, (50_000, 60_000)),
        with(6, &|_| ()),
        with(7, &|one| one.file.delivery = delivered()),
        with(8, &|one| one.file.fetched = true),
        with(9, &|one| one.file.delivery = Delivery::Lost { reason: "refused".into() }),
        with(10, &|one| one.file.state = FileState::Open),
    ];
    let bounds = Bounds { total: 1, capture: u64::MAX };
    let mut all = list(records.clone(), vec![capture(1)]);
    all.add_freeze(freeze(9, 115_000, 130_000));
    assert_eq!(order(&mut all, bounds), [7, 8, 5, 3, 6, 9, 2, 1, 4], "and the open one stays");
    assert_eq!(all.head.discarded, Amount { files: 4, bytes: 160, packets: 4 });

    // What a freeze has copied already is not waited for any more.
    let mut all = list(records, vec![capture(1)]);
    all.add_freeze(freeze(9, 115_000, 130_000));
    all.copied(9, 4);
    assert_eq!(order(&mut all, bounds), [7, 8, 5, 3, 4, 6, 9, 2, 1]);
}

#[test]
fn what_is_thrown_away_undelivered_is_counted_and_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    ring.capture_began(capture(1000), false);
    write(&ring, "a.pcapng", 2, true);
    ring.set_delivery("a.pcapng", delivered());
    write(&ring, "b.pcapng", 3, true);
    write(&ring, "c.pcapng", 3, true);
    assert_eq!(ring.files().len(), 2, "the delivered one went");
    assert_eq!((ring.list().discarded, ring.messages()), (Amount::default(), vec![]));
    write(&ring, "d.pcapng", 3, true);
    ring.set_fetched("d.pcapng");
    let discarded = ring.list().discarded;
    assert_eq!((discarded.files, discarded.packets), (1, 3));
    let said = ring.messages();
    assert!(said[0].contains("oldest file b.pcapng with 3 packets was removed undelivered"), "{said:?}");
    assert!(ring.state(SinkState::Ring).used <= 1000);
    let names: Vec<String> = ring.to_deliver().into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["c.pcapng", "d.pcapng"]);
    // What the laptop has goes before what nobody has, and is not lost.
    write(&ring, "e.pcapng", 1, true);
    assert!(!folder.path().join("d.pcapng").exists() && folder.path().join("c.pcapng").exists());
    assert_eq!(ring.list().discarded, discarded);
    assert!(!folder.path().join("b.pcapng").exists());
    // Somebody had b all along: it was streamed, or its last bytes were under way.
    ring.set_fetched("b.pcapng");
    assert_eq!(ring.list().discarded, Amount::default());
}

#[test]
fn one_that_cannot_go_does_not_end_the_capture_as_long_as_another_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    ring.capture_began(capture(1000), false);
    write(&ring, "a.pcapng", 3, true);
    write(&ring, "b.pcapng", 3, true);
    // What is there under that name is no file any more.
    fs::remove_file(folder.path().join("a.pcapng")).expect("removed");
    fs::create_dir(folder.path().join("a.pcapng")).expect("a folder");
    ring.messages();
    write(&ring, "c.pcapng", 3, true);
    assert!(!folder.path().join("b.pcapng").exists(), "the next one went");
    let said = ring.messages();
    assert!(said.iter().any(|line| line.contains("cannot remove a.pcapng")), "{said:?}");
    write(&ring, "d.pcapng", 3, true);
    let said = ring.messages();
    assert!(!said.iter().any(|line| line.contains("a.pcapng")), "told once: {said:?}");
}
