//! Saving a part of a flight recorder's time out of its pieces, on a thread of its own.
//!
//! Owns what belongs to the part and what is missing in it. Must not know how blocks are copied.

use std::{
    fs::File,
    io::{Seek, SeekFrom},
    ops::RangeInclusive,
    thread::{self, JoinHandle},
};

use nodewatch_protocol::{BootSpan, Dropped, FilePlace, FileRecord, PendingFreeze, UnixMillis};

use super::freeze::{Assembly, CopyError, Piece};
use crate::{
    error::chain,
    judge,
    ring::{
        Beginning, Ending, Reservation, Ring,
        store::{StoreError, file_name},
    },
};

/// The wall clock went as the boot-time clock within a piece when they differ by less than this, in milliseconds.
const STEADY: i64 = 250;
/// The first piece of a recorder begins within so long after its capture, in milliseconds.
const ARMED: u64 = 2000;
/// Room for a file's first and last blocks.
const AROUND: u64 = 4 * 1024;

/// What a freeze's file is called: as other files are, by the time that it begins with.
pub fn name_of(ring: &Ring, freeze: &PendingFreeze) -> String {
    file_name(begins(freeze, &ring.pieces(freeze)).0, 0, freeze.id)
}

/// Saves what is there of a freeze. Waits for the disk.
pub fn save(ring: &Ring, name: &str, freeze: &PendingFreeze) {
    if let Err(error) = try_save(ring, name, freeze) {
        ring.say(format!("the flight recorder was not saved: {}", chain(&error)));
        // Nothing of it is in the list any more; the file may be gone already.
        let _ = ring.give_up(name);
        ring.drop_freeze(freeze.id);
    }
}

/// Saves the freezes of a capture that ended without having been able to, in the order they were asked for.
/// Whoever wants to wait for that joins the thread, which waits for another that does it already.
pub fn save_pending(ring: &Ring) -> std::io::Result<Option<JoinHandle<()>>> {
    if ring.freezes().is_empty() {
        return Ok(None);
    }
    let ring = ring.clone();
    let work = move || {
        let _turn = ring.saving();
        for freeze in ring.freezes() {
            save(&ring, &name_of(&ring, &freeze), &freeze);
        }
    };
    thread::Builder::new().name("freeze".to_owned()).spawn(work).map(Some)
}

fn try_save(ring: &Ring, name: &str, freeze: &PendingFreeze) -> Result<(), StoreError> {
    let pieces = ring.pieces(freeze);
    let (mut words, mut said) = known_missing(ring, freeze, &pieces);
    said.splice(..0, words.iter().cloned());
    said.splice(..0, freeze.cause.map(judge::said));
    // What is found out later comes at the file's end. A piece that is open may go: its memory is worth less than what
    // was saved before, and is not lost to this one.
    let mut inputs = pieces.iter().map(|piece| open(ring, freeze, piece)).peekable();
    inputs.peek();
    let mut room = ring.make_room(AROUND)?;
    let (started, boot) = begins(freeze, &pieces);
    let mut out = ring.begin(Beginning {
        name: name.to_owned(),
        started,
        boot,
        place: FilePlace::Kept,
        frozen: true,
        cause: freeze.cause,
        capture: Some(freeze.capture).filter(|capture| *capture > 0),
        incomplete: String::new(),
    })?;
    let mut assembly = Assembly::new(&mut out, said);
    let mut told = (0, 0);
    let mut broken = None;
    for piece in &pieces {
        let Some(input) = inputs.next() else { break };
        match input.and_then(|input| copy(ring, freeze, piece, input, (name, &mut assembly, &mut told))) {
            Ok(()) => {}
            Err(Trouble::Piece(why)) => words.push(format!("{}: {why}", missing(freeze, within(freeze, piece)))),
            Err(Trouble::File(why)) => {
                let rest = BootSpan { from: within(freeze, piece).from, to: freeze.span.to };
                words.push(format!("{}: {why}", missing(freeze, rest)));
                assembly.forget_unwritten();
                broken = Some(why);
                break;
            }
        }
    }
    let Dropped { kernel, interface, queue } = assembly.at_edges;
    if (kernel, interface, queue) != (0, 0, 0) {
        words.push(format!(
            "incomplete: packets dropped around its ends may be missing: up to {kernel} by kernel, {interface} by \
             interface and {queue} by our own queue"
        ));
    }
    let dropped = assembly.dropped;
    let (size, packets) = (assembly.size, assembly.packets);
    if broken.is_some() {
        // A reader must find whole blocks only.
        drop(assembly);
        let failed = |source| StoreError::File { operation: "cut", name: name.to_owned(), source };
        out.set_len(size).and_then(|()| out.seek(SeekFrom::Start(size))).map_err(failed)?;
        if packets == 0 {
            let why = broken.unwrap_or_default();
            let source = std::io::Error::other(why);
            return Err(StoreError::File { operation: "freeze into", name: name.to_owned(), source });
        }
    } else {
        match assembly.end(&words) {
            Ok(()) => spend(&mut room, name, &assembly, &mut told),
            Err(error) => {
                words.push(format!("incomplete: packet counts are missing: {}", chain(&error)));
                drop(assembly);
                // Blocks that are half there are cut, or else the next start cuts them.
                let _ = out.set_len(size);
            }
        }
    }
    drop(room);
    let incomplete = words.join("; ");
    let ending = Ending { ended: freeze.to, boot: freeze.span.to, dropped, incomplete };
    ring.close_freeze(freeze.id, name, &ending)
}

/// What of a freeze is known to be missing before a packet is copied, and what else its file says of itself.
fn known_missing(ring: &Ring, freeze: &PendingFreeze, pieces: &[FileRecord]) -> (Vec<String>, Vec<String>) {
    let mut words: Vec<String> = Vec::new();
    for incomplete in pieces.iter().map(|piece| &piece.file.incomplete).filter(|words| !words.is_empty()) {
        if !words.contains(incomplete) {
            words.push(incomplete.clone());
        }
    }
    let spans: Vec<BootSpan> = pieces.iter().filter_map(|piece| piece.span).collect();
    let mut holes = holes(freeze, &spans);
    // A recorder that was armed since then lacks nothing from before.
    let armed = ring.freeze_capture_began(freeze).filter(|armed| *armed > freeze.span.from);
    let young = armed.filter(|armed| {
        holes.first().is_some_and(|hole| hole.from == freeze.span.from && hole.to <= armed.saturating_add(ARMED))
    });
    if young.is_some() {
        holes.remove(0);
    }
    words.extend(holes.into_iter().map(|hole| missing(freeze, hole)));
    let young =
        young.map(|_| "the flight recorder was armed later than this freeze begins: nothing is missing".to_owned());
    (words, young.into_iter().collect())
}

enum Trouble {
    /// One piece cannot be read; the others can.
    Piece(String),
    /// The new file cannot go on.
    File(String),
}

/// Opens a piece, which from then on this freeze does not need by its name.
fn open(ring: &Ring, freeze: &PendingFreeze, piece: &FileRecord) -> Result<File, Trouble> {
    let input = ring.store().read_from(&piece.file.name, 0).map_err(|error| Trouble::Piece(chain(&error)))?;
    ring.copied(freeze.id, piece.file.sequence);
    Ok(input)
}

/// Copies one piece, for which there is room. What has reached the new file is told, wherever copying ends.
fn copy(
    ring: &Ring,
    freeze: &PendingFreeze,
    piece: &FileRecord,
    input: File,
    (name, assembly, told): (&str, &mut Assembly<&mut File>, &mut (u64, u64)),
) -> Result<(), Trouble> {
    let mut room = ring.make_room(piece.file.size).map_err(|error| Trouble::File(chain(&error)))?;
    let BootSpan { from, to } = freeze.span;
    let lies = match piece.span {
        Some(span) if from <= span.from && span.to <= to => Piece::Inside,
        Some(span) if span.to <= from || to <= span.from => Piece::Beside,
        Some(_) | None => Piece::Across,
    };
    let copied = assembly.copy(input, &nanos(freeze, piece), lies);
    spend(&mut room, name, assembly, told);
    copied.map_err(|error| match error {
        CopyError::Read(_) => Trouble::Piece(chain(&error)),
        CopyError::Write(_) => Trouble::File(chain(&error)),
    })
}

/// Moves what was written since the last time from what was reserved into the file.
fn spend(room: &mut Reservation, name: &str, assembly: &Assembly<&mut File>, told: &mut (u64, u64)) {
    room.spend(name, assembly.size - told.0, assembly.packets - told.1);
    *told = (assembly.size, assembly.packets);
}

/// Which packets of a piece belong to a freeze. They carry the time of the wall clock: how that stood to the boot-time
/// clock is known of each piece. Of one in which it was set, all do.
fn nanos(freeze: &PendingFreeze, piece: &FileRecord) -> RangeInclusive<u64> {
    let all = 0..=u64::MAX;
    let Some(span) = piece.span else { return all };
    let offset = |wall: UnixMillis, boot: u64| wall as i64 - boot as i64;
    let (begin, end) = (offset(piece.file.started, span.from), offset(piece.file.ended, span.to));
    if (begin - end).abs() > STEADY {
        return all;
    }
    let wall = |boot: u64| u64::try_from(boot as i64 + begin).unwrap_or_default().saturating_mul(1_000_000);
    wall(freeze.span.from)..=wall(freeze.span.to)
}

/// The part of a freeze that a piece stands for.
fn within(freeze: &PendingFreeze, piece: &FileRecord) -> BootSpan {
    let span = piece.span.unwrap_or(freeze.span);
    let clamp = |at: u64| at.clamp(freeze.span.from, freeze.span.to);
    BootSpan { from: clamp(span.from), to: clamp(span.to) }
}

/// When the first piece begins that has something of a freeze, by the clock on the wall and by the boot-time one.
fn begins(freeze: &PendingFreeze, pieces: &[FileRecord]) -> (UnixMillis, u64) {
    let parts = pieces.iter().map(|piece| within(freeze, piece)).filter(|part| part.from < part.to);
    let boot = parts.map(|part| part.from).min().unwrap_or(freeze.span.from);
    (freeze.from.saturating_add(boot.saturating_sub(freeze.span.from)), boot)
}

/// The parts of a freeze that no piece stands for.
fn holes(freeze: &PendingFreeze, pieces: &[BootSpan]) -> Vec<BootSpan> {
    let BootSpan { from, to } = freeze.span;
    let mut reached = from;
    let mut holes = Vec::new();
    for piece in pieces {
        if piece.from > reached && reached < to {
            holes.push(BootSpan { from: reached, to: piece.from.min(to) });
        }
        reached = reached.max(piece.to);
    }
    if reached < to {
        holes.push(BootSpan { from: reached, to });
    }
    holes
}

fn missing(freeze: &PendingFreeze, hole: BootSpan) -> String {
    let wall = |boot: u64| {
        let millis = freeze.from.saturating_add(boot.saturating_sub(freeze.span.from));
        jiff::Timestamp::from_millisecond(i64::try_from(millis).unwrap_or(i64::MAX)).unwrap_or_default()
    };
    let seconds = hole.to.saturating_sub(hole.from) as f64 / 1000.0;
    format!(
        "incomplete: the recorder has no packets for {seconds:.3} s from {:.3} to {:.3}",
        wall(hole.from),
        wall(hole.to)
    )
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::Duration};

    use nodewatch_pcapng as pcapng;
    use nodewatch_protocol::{CaptureFile, CaptureRecord, FileState, SinkState};

    use super::*;
    use crate::{clock::Clock, ring::store::Store};

    fn freeze(from: u64, to: u64) -> PendingFreeze {
        PendingFreeze {
            id: 1,
            capture: 0,
            from: from + 1_000_000,
            to: to + 1_000_000,
            span: BootSpan { from, to },
            cause: None,
        }
    }

    fn span(from: u64, to: u64) -> BootSpan {
        BootSpan { from, to }
    }

    #[test]
    fn every_hole_is_found_wherever_it_is() {
        let freeze = freeze(1000, 5000);
        assert_eq!(holes(&freeze, &[span(500, 2000), span(2000, 5300)]), []);
        assert_eq!(
            holes(&freeze, &[span(1500, 2000), span(3000, 4000)]),
            [span(1000, 1500), span(2000, 3000), span(4000, 5000)]
        );
        assert_eq!(holes(&freeze, &[]), [span(1000, 5000)]);
        assert_eq!(holes(&freeze, &[span(0, 500), span(6000, 7000)]), [span(1000, 5000)], "pieces at its edges");
        let words = missing(&freeze, span(1000, 1500));
        assert!(words.contains("no packets for 0.500 s from 1970-01-01T00:16:41.000Z"), "{words}");
    }

    #[test]
    fn packets_are_cut_by_how_the_wall_clock_stood_in_each_piece() {
        let freeze = freeze(2000, 3000);
        let piece = |started: u64, ended: u64, from: u64, to: u64| {
            let mut record = crate::ring::tests::record("p", 1);
            record.file.started = started;
            record.file.ended = ended;
            record.span = Some(span(from, to));
            record
        };
        // An hour behind, or ahead, of what the freeze was asked by.
        assert_eq!(nanos(&freeze, &piece(11_000, 14_000, 1000, 4000)), 12_000_000_000..=13_000_000_000);
        assert_eq!(nanos(&freeze, &piece(911_000, 914_010, 1000, 4000)), 912_000_000_000..=913_000_000_000);
        // Set in the middle, forwards and back: nothing of it is left out.
        assert_eq!(nanos(&freeze, &piece(11_000, 3_614_000, 1000, 4000)), 0..=u64::MAX);
        assert_eq!(nanos(&freeze, &piece(11_000, 9_000, 1000, 4000)), 0..=u64::MAX);
    }

    const WALL: u64 = 1_700_000_000_000;

    /// A recorder whose clock a test moves, with a piece each ten seconds and a packet in it each second.
    struct Recorded {
        ring: Ring,
        clock: Clock,
        folder: tempfile::TempDir,
    }

    impl Recorded {
        fn new(ring_bytes: u64) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let clock = Clock::standing(1_000_000, WALL);
            let store = Store::open(folder.path()).expect("a folder");
            let ring = Ring::open_by(store, "n", clock.clone()).expect("a ring");
            ring.capture_began(crate::ring::tests::capture(ring_bytes), false);
            Self { ring, clock, folder }
        }

        /// Ten seconds, at whose beginning the kernel has dropped so many.
        fn piece(&self, kernel: u64, comment: &str) -> String {
            let name = format!("piece-{}.pcapng", self.ring.sequence().take());
            let now = |clock: &Clock| (clock.unix_millis(), clock.boot().as_millis());
            let (started, boot) = now(&self.clock);
            let beginning =
                Beginning { name: name.clone(), started, boot, place: FilePlace::Recorder, ..Beginning::default() };
            let mut file = self.ring.begin(beginning).expect("begun");
            let mut bytes = Vec::new();
            let comments = if comment.is_empty() { vec![] } else { vec![comment.to_owned()] };
            let section = pcapng::SectionBlock { hardware: "n", application: "t", comments: &comments };
            pcapng::section_header(&mut bytes, &section);
            let interface =
                pcapng::InterfaceBlock { name: "eth0", link_type: 1, snaplen: 100, filter: None, description: "" };
            pcapng::interface_description(&mut bytes, &interface);
            for _ in 0..10 {
                self.clock.advance(Duration::from_millis(500));
                pcapng::enhanced_packet(&mut bytes, 0, self.clock.unix_nanos(), 100, [&[0; 100]], &[]);
                self.clock.advance(Duration::from_millis(500));
            }
            let counts = pcapng::StatisticsBlock {
                interface: 0,
                at: self.clock.unix_nanos(),
                since: 0,
                received: 10 + kernel,
                dropped_by_interface: 0,
                dropped_by_kernel: kernel,
                delivered: 10,
                comment: "",
            };
            pcapng::interface_statistics(&mut bytes, &counts);
            file.write_all(&bytes).expect("written");
            let mut room = self.ring.insist_on_room(bytes.len() as u64).expect("room");
            room.spend(&name, bytes.len() as u64, 10);
            let (ended, boot) = now(&self.clock);
            let dropped = Dropped { kernel, ..Dropped::default() };
            let incomplete = comment.to_owned();
            self.ring.close(&name, &Ending { ended, boot, dropped, incomplete }).expect("closed");
            name
        }

        fn save(&self, before: u64) -> CaptureFile {
            let freeze = self.ring.add_freeze(Duration::from_secs(before), Duration::ZERO).expect("few wait");
            save(&self.ring, &file_name(WALL, 0, freeze.id), &freeze);
            assert_eq!(self.ring.freezes(), []);
            self.ring.files().pop().unwrap_or_else(|| panic!("{:?}", self.ring.messages()))
        }

        /// Packets, the counts of the only interface, and everything that is said.
        fn read(&self, file: &CaptureFile) -> (u64, pcapng::Statistics, Vec<String>) {
            let bytes = std::fs::read(self.folder.path().join(&file.name)).expect("read");
            assert_eq!(bytes.len() as u64, file.size);
            let mut reader = pcapng::Reader::new(bytes.as_slice());
            let (mut packets, mut counts, mut comments) = (0, pcapng::Statistics::default(), Vec::new());
            while let Some(block) = reader.next_block().expect("whole") {
                match block {
                    pcapng::Block::Section(section) => comments.extend(section.comments),
                    pcapng::Block::Packet(_) => packets += 1,
                    pcapng::Block::Statistics(found) => {
                        comments.extend(found.comments.clone());
                        counts = found;
                    }
                    _ => {}
                }
            }
            (packets, counts, comments)
        }
    }

    #[test]
    fn what_a_saved_freeze_counts_is_what_is_in_it() {
        let recorded = Recorded::new(1 << 20);
        for kernel in [5, 3, 0] {
            recorded.piece(kernel, "");
        }
        let file = recorded.save(25);
        let (packets, counts, _) = recorded.read(&file);
        assert_eq!((packets, file.packets, counts.delivered, counts.received), (25, 25, 25, 28));
        assert_eq!((counts.dropped_by_kernel, file.dropped.kernel), (3, 3), "of whole pieces");
        assert!(file.incomplete.contains("up to 5 by kernel"), "{}", file.incomplete);
        let whole = recorded.save(20);
        assert_eq!((whole.packets, whole.dropped.kernel), (20, 3));
        assert!(whole.incomplete.is_empty(), "{}", whole.incomplete);
    }

    #[test]
    fn every_hole_and_every_word_of_its_pieces_is_in_a_saved_freeze() {
        let recorded = Recorded::new(1 << 20);
        recorded.piece(0, "");
        let second = recorded.piece(0, "");
        recorded.piece(0, "gap: the agent was started again");
        std::fs::remove_file(recorded.folder.path().join(&second)).expect("removed");
        recorded.clock.advance(Duration::from_secs(4));
        let file = recorded.save(34);
        let (packets, _, comments) = recorded.read(&file);
        assert_eq!((packets, file.packets), (20, 20));
        let said = comments.join("; ");
        for text in [&said, &file.incomplete] {
            assert!(text.contains("gap: the agent was started again"), "{text}");
            assert!(text.contains("no packets for 10.000 s from 2023-11-14T22:13:30.000Z"), "{text}");
            assert!(text.contains("no packets for 4.000 s from 2023-11-14T22:13:50.000Z"), "the end: {text}");
        }
        let nothing = recorded.save(2);
        assert_eq!((nothing.packets, nothing.state), (0, FileState::Closed));
        assert!(nothing.incomplete.contains("no packets for 2.000 s"), "{}", nothing.incomplete);
    }

    #[test]
    fn a_freeze_of_a_young_recorder_begins_with_it_lacks_nothing_and_is_of_its_capture() {
        let recorded = Recorded::new(1 << 20);
        let capture = CaptureRecord {
            since: WALL + 10_000,
            boot: recorded.clock.boot().as_millis(),
            ..crate::ring::tests::capture(1 << 20)
        };
        recorded.ring.capture_began(capture, false);
        recorded.piece(0, "");
        let freeze = recorded.ring.add_freeze(Duration::from_secs(30), Duration::ZERO).expect("few wait");
        // Another one has begun before it was saved.
        let later = CaptureRecord { since: WALL + 90_000, ..crate::ring::tests::capture(1 << 20) };
        let name = name_of(&recorded.ring, &freeze);
        recorded.ring.capture_began(later, true);
        save(&recorded.ring, &name, &freeze);
        let file = recorded.ring.files().pop().unwrap_or_else(|| panic!("{:?}", recorded.ring.messages()));
        assert_eq!((file.since, file.started, file.incomplete.as_str()), (WALL + 10_000, WALL, ""));
        assert!(
            file.name.starts_with("20231114T221320.000000Z-"),
            "its first packet's, not the freeze's: {}",
            file.name
        );
        assert_eq!(recorded.read(&file).0, 10);
    }

    #[test]
    fn what_was_copied_of_a_piece_that_breaks_off_is_told_as_it_is_in_the_file() {
        let recorded = Recorded::new(1 << 20);
        let piece = recorded.piece(0, "");
        let freeze = recorded.ring.add_freeze(Duration::from_secs(10), Duration::ZERO).expect("few wait");
        // More than is gathered before it is written, and then no block.
        let mut bytes = crate::ring::tests::bytes(0, false);
        for _ in 0..3000 {
            pcapng::enhanced_packet(&mut bytes, 0, (WALL + 1000) * 1_000_000, 100, [&[0; 100]], &[]);
        }
        bytes.extend([0xff; 64]);
        std::fs::write(recorded.folder.path().join(&piece), bytes).expect("written");
        let name = "saved-7000.pcapng";
        let beginning = Beginning { name: name.into(), place: FilePlace::Kept, ..Beginning::default() };
        let mut out = recorded.ring.begin(beginning).expect("begun");
        let mut assembly = Assembly::new(&mut out, Vec::new());
        let mut told = (0, 0);
        let known = recorded.ring.pieces(&freeze).remove(0);
        let input = recorded.ring.store().read_from(&piece, 0).expect("there");
        let copied = copy(&recorded.ring, &freeze, &known, input, (name, &mut assembly, &mut told));
        assert!(matches!(copied, Err(Trouble::Piece(_))));
        // Nothing more can be written: what is there stays, and is what the list has.
        assert!(told.0 > 0 && told == (assembly.size, assembly.packets), "{told:?}");
        assert_eq!(recorded.ring.store().size(name).expect("there"), recorded.ring.size(name));
    }

    #[test]
    fn a_clock_that_is_set_while_a_recorder_runs_costs_no_packet() {
        for set in [3_600_000, -3_600_000] {
            let recorded = Recorded::new(1 << 20);
            recorded.piece(0, "");
            recorded.clock.set_wall(recorded.clock.unix_millis().saturating_add_signed(set));
            recorded.piece(0, "");
            let file = recorded.save(15);
            assert_eq!((file.packets, file.incomplete.as_str()), (15, ""));
        }
    }

    fn on_disk(recorded: &Recorded) -> u64 {
        let names = recorded.ring.store().names().expect("names");
        names.iter().map(|name| recorded.ring.store().size(name).expect("there")).sum()
    }

    #[test]
    fn what_was_saved_is_worth_more_than_memory_that_comes_again() {
        let recorded = Recorded::new(1 << 20);
        let piece = recorded.piece(0, "");
        let size = recorded.ring.size(&piece);
        (1..10).for_each(|_| drop(recorded.piece(0, "")));
        let saved = recorded.save(95);
        assert_eq!(saved.packets, 95);
        // As much again as that, and not a piece more.
        recorded.ring.limit_volume(saved.size + 10 * size + AROUND);
        (0..10).for_each(|_| drop(recorded.piece(0, "")));
        assert!(recorded.ring.pieces(&everything()).len() >= 10);
        let again = recorded.save(95);
        assert_eq!((again.packets, again.incomplete.as_str()), (95, ""));
        assert_eq!(recorded.ring.files().len(), 2, "the freeze before is still there");
        let state = recorded.ring.state(SinkState::Ring);
        assert!(state.used == on_disk(&recorded) && state.used <= state.limit, "{state:?}");
        assert_eq!(state.discarded.files, 0);
    }

    fn everything() -> PendingFreeze {
        freeze(0, u64::MAX / 4)
    }

    #[test]
    fn a_freeze_without_room_says_so_and_leaves_nothing_uncounted() {
        let recorded = Recorded::new(1 << 20);
        recorded.piece(0, "");
        recorded.ring.limit_volume(1);
        let freeze = recorded.ring.add_freeze(Duration::from_secs(5), Duration::ZERO).expect("few wait");
        save(&recorded.ring, "none-7000.pcapng", &freeze);
        assert!(recorded.ring.messages().iter().any(|said| said.contains("the flight recorder was not saved")));
        assert!(recorded.ring.files().is_empty() && recorded.ring.freezes().is_empty());
        assert_eq!(recorded.ring.state(SinkState::Ring).used, on_disk(&recorded));
    }

    #[test]
    fn a_freeze_whose_room_ends_in_the_middle_keeps_what_it_has_and_names_the_rest() {
        let recorded = Recorded::new(1 << 20);
        let names: Vec<String> = (0..4).map(|_| recorded.piece(0, "")).collect();
        let size = recorded.ring.size(&names[0]);
        // Nothing else can go: what is being written never does.
        let other = "other-8000.pcapng";
        drop(recorded.ring.begin(Beginning { name: other.into(), ..Beginning::default() }).expect("begun"));
        recorded.ring.limit_volume(AROUND + 4 * size + size / 2);
        recorded.ring.insist_on_room(3 * size).expect("taken").spend(other, 3 * size, 1);
        let freeze = recorded.ring.add_freeze(Duration::from_secs(40), Duration::ZERO).expect("few wait");
        save(&recorded.ring, "saved-8001.pcapng", &freeze);
        let files = recorded.ring.files();
        let saved = files.iter().find(|file| file.name == "saved-8001.pcapng");
        let saved = saved.unwrap_or_else(|| panic!("{:?}", recorded.ring.messages()));
        let (packets, ..) = recorded.read(saved);
        assert!(saved.packets == packets && (10..40).contains(&packets), "{packets}");
        assert!(saved.incomplete.contains("no packets for"), "{}", saved.incomplete);
        assert_eq!(recorded.ring.freezes(), []);
        assert_eq!(recorded.ring.state(SinkState::Ring).used, on_disk(&recorded) + 3 * size);
    }
}
