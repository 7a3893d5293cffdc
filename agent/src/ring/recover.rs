//! What a process that was stopped has left: files that the list does not know as they are, and the list itself.
//!
//! Owns the look into files whose end is not known, and what the list is told of them. Must not know rooms or threads.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{BufReader, Read, Seek, SeekFrom, Write},
    time::UNIX_EPOCH,
};

use nodewatch_pcapng::{self as pcapng, Block, Reader};
use nodewatch_protocol::{
    BootSpan, CaptureFile, CaptureRecord, Delivery, Dropped, FilePlace, FileRecord, FileState, RingList, UnixMillis,
};

use super::{
    Sequence,
    list::{is_discarded, is_lost, note_forgotten},
    store::{Remembered, Store, StoreError, sequence_of, started_of},
};
use crate::{
    clock::{self, Clock},
    error::chain,
};

/// What was found out about a file by looking into it.
struct Found {
    size: u64,
    packets: u64,
    ended: UnixMillis,
    dropped: Dropped,
    incomplete: String,
}

/// The list that was left, brought up to what is in the folder, and what there is to say about it.
pub(super) fn recover(
    store: &Store,
    node: &str,
    clock: &Clock,
    sequence: &Sequence,
) -> Result<(RingList, Vec<String>), StoreError> {
    let mut said = Vec::new();
    let names = store.names()?;
    // Of what is no file nothing is ours, whatever it is called: opening it may even wait for good.
    let (files, others): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| store.is_file(name));
    let present: BTreeSet<String> = files.into_iter().collect();
    said.extend(others.iter().map(|name| format!("ignored {name} in the ring's folder: not a file")));
    let mut list = left_list(store, !present.is_empty(), &mut said);
    node.clone_into(&mut list.node);
    if list.ring.is_empty() {
        list.ring = super::store::chance();
    }
    number(&mut list, present.iter().chain(&others), sequence);
    to_this_boot(&mut list, clock);
    drop_stale_freezes(&mut list, &mut said);
    let saving: Vec<u64> = list.freezes.iter().map(|freeze| freeze.id).collect();
    let known: BTreeSet<String> = list.files.iter().map(|record| record.file.name.clone()).collect();
    let mut files: Vec<FileRecord> = Vec::new();
    for mut record in std::mem::take(&mut list.files) {
        if let Delivery::Sending { .. } | Delivery::Waiting { .. } = record.file.delivery {
            record.file.delivery = Delivery::Held;
        }
        if record.place == FilePlace::Gone {
            files.push(record);
        } else if !present.contains(&record.file.name) {
            if record.place == FilePlace::Kept && (record.file.state == FileState::Closed || record.file.packets > 0) {
                record.place = FilePlace::Gone;
                if is_discarded(&record) {
                    list.discarded.add(&record.file);
                    said.push(format!("{} is no longer in the ring and was not delivered", record.file.name));
                }
                files.push(record);
            } else {
                note_forgotten(&mut list, &record);
            }
        } else if record.file.state == FileState::Open && saving.contains(&record.file.sequence) {
            remove_half(store, &record.file.name, &mut said);
        } else if record.file.state == FileState::Closed && has_size(store, &record.file) {
            files.push(record);
        } else {
            match examine(store, &record.file.name) {
                Ok(Some(found)) => files.push(look_again(record, &found, clock)),
                Ok(None) => {}
                Err(error) => files.push(unreadable(&mut list, record, &chain(&error), &mut said)),
            }
        }
    }
    for name in present.difference(&known) {
        if sequence_of(name).is_some_and(|number| saving.contains(&number)) {
            remove_half(store, name, &mut said);
            continue;
        }
        match examine(store, name) {
            Ok(Some(found)) => files.push(unknown(name, found, list.captures.last(), &files, sequence, clock)),
            Ok(None) => {}
            Err(error) => said.push(format!("ignored {name} in the ring's folder: {}", chain(&error))),
        }
    }
    files.sort_by_key(|record| record.file.sequence);
    list.files = files;
    Ok((list, said))
}

/// The list that was left, or an empty one, and why; `files` are there.
fn left_list(store: &Store, files: bool, said: &mut Vec<String>) -> RingList {
    match store.read_list() {
        Remembered::Last(list) => list,
        Remembered::Before(list, why) => {
            said.push(format!("cannot read the ring's file index, using the previous one: {why}"));
            list
        }
        Remembered::Nothing(why) => {
            if let Some(why) = why {
                let lost = "the ring's file index is lost; the files in its folder are kept, but not the record of \
                            what was delivered, dropped or discarded";
                said.push(format!("{lost}: {why}"));
            } else if files {
                said.push("the ring has files but no file index; they are kept as they are".to_owned());
            }
            RingList::default()
        }
    }
}

/// The freeze is pending and is saved anew, whole.
fn remove_half(store: &Store, name: &str, said: &mut Vec<String>) {
    if let Err(error) = store.remove(name) {
        said.push(format!("ignored a half-saved freeze: {}", chain(&error)));
    }
}

/// One whose size cannot be told is looked into, which tells why.
fn has_size(store: &Store, file: &CaptureFile) -> bool {
    store.size(&file.name).is_ok_and(|size| size == file.size)
}

/// Gives everything a number, and makes sure that none comes twice.
fn number<'a>(list: &mut RingList, present: impl Iterator<Item = &'a String>, sequence: &Sequence) {
    sequence.pass(list.next_sequence.saturating_sub(1));
    let files = list.files.iter().map(|record| record.file.sequence);
    let freezes = list.freezes.iter().map(|freeze| freeze.id);
    let named = present.filter_map(|name| sequence_of(name));
    for number in files.chain(freezes).chain(named) {
        sequence.pass(number);
    }
    // A list of an earlier release has no numbers, but is in order.
    for record in list.files.iter_mut().filter(|record| record.file.sequence == 0) {
        record.file.sequence = sequence.take();
    }
}

/// The boot-time clock begins anew with each boot: what is remembered of another one is told by the wall clock.
fn to_this_boot(list: &mut RingList, clock: &Clock) {
    let boot = clock::boot_id();
    let same = !boot.is_empty() && list.boot == boot;
    list.boot = boot;
    for record in list.files.iter_mut().filter(|record| !same || record.span.is_none()) {
        record.span = Some(span(clock, record.file.started, record.file.ended));
    }
    if same {
        return;
    }
    for capture in &mut list.captures {
        capture.boot = span(clock, capture.since, 0).from;
    }
    for freeze in &mut list.freezes {
        freeze.span = span(clock, freeze.from, freeze.to);
    }
}

fn span(clock: &Clock, from: UnixMillis, to: UnixMillis) -> BootSpan {
    let (boot, wall) = (clock.boot().as_millis(), clock.unix_millis());
    let at = |time: UnixMillis| boot.saturating_add(time).saturating_sub(wall);
    BootSpan { from: at(from), to: at(to.max(from)) }
}

/// A freeze is of the capture that was interrupted, or of none that can go on.
fn drop_stale_freezes(list: &mut RingList, said: &mut Vec<String>) {
    let goes_on =
        list.captures.last().is_some_and(|capture| capture.ended.is_none() && capture.spec.recorder.is_some());
    if !goes_on {
        for freeze in std::mem::take(&mut list.freezes) {
            let seconds = freeze.span.to.saturating_sub(freeze.span.from) / 1000;
            said.push(format!("a freeze of {seconds} s was not saved: its capture ended first"));
        }
    }
}

/// A file that the list does not know as it is now.
fn look_again(record: FileRecord, found: &Found, clock: &Clock) -> FileRecord {
    let before = record.file;
    // Bytes that are not those which were delivered or fetched are nowhere else.
    let changed = before.state == FileState::Closed;
    let (fetched, delivery) = if changed { (false, Delivery::Held) } else { (before.fetched, before.delivery) };
    let mut incomplete = before.incomplete;
    if !found.incomplete.is_empty() && !incomplete.contains(&found.incomplete) {
        if !incomplete.is_empty() {
            incomplete.push_str("; ");
        }
        incomplete.push_str(&found.incomplete);
    }
    let file = CaptureFile {
        size: found.size,
        packets: found.packets,
        ended: found.ended.max(before.started),
        state: FileState::Closed,
        dropped: found.dropped,
        incomplete,
        sha256: None,
        delivery,
        fetched,
        ..before
    };
    let from = record.span.map_or(0, |span| span.from);
    let to = span(clock, file.ended, file.ended).to.clamp(from, clock.boot().as_millis().max(from));
    FileRecord { file, span: Some(BootSpan { from, to }), ..record }
}

/// A file that is there and cannot be read: it stays in the list, which says why nothing comes of it.
fn unreadable(list: &mut RingList, record: FileRecord, why: &str, said: &mut Vec<String>) -> FileRecord {
    let mut record = record;
    let file = &mut record.file;
    said.push(format!("{} cannot be used: {why}", file.name));
    file.state = FileState::Closed;
    file.ended = file.ended.max(file.started);
    let words = format!("incomplete: {why}");
    if !file.incomplete.contains(&words) {
        let join = if file.incomplete.is_empty() { "" } else { "; " };
        file.incomplete = format!("{}{join}{words}", file.incomplete);
    }
    if record.place == FilePlace::Kept && !file.delivery.is_over() {
        file.delivery = Delivery::Lost { reason: why.to_owned() };
        if is_lost(&record) {
            list.lost.add(&record.file);
        }
    }
    record
}

/// A file that the list does not know at all: begun after the list was written, so of the capture that ran.
fn unknown(
    name: &str,
    found: Found,
    capture: Option<&CaptureRecord>,
    files: &[FileRecord],
    sequence: &Sequence,
    clock: &Clock,
) -> FileRecord {
    let taken = |number: &u64| files.iter().all(|one| one.file.sequence != *number);
    let started = started_of(name).unwrap_or(found.ended);
    let file = CaptureFile {
        name: name.to_owned(),
        sequence: sequence_of(name).filter(taken).unwrap_or_else(|| sequence.take()),
        size: found.size,
        packets: found.packets,
        started,
        ended: found.ended.max(started),
        state: FileState::Closed,
        dropped: found.dropped,
        incomplete: found.incomplete,
        sha256: None,
        delivery: Delivery::Held,
        fetched: false,
        since: capture.map_or(started, |capture| capture.since),
    };
    let records = capture.is_some_and(|capture| capture.ended.is_none() && capture.spec.recorder.is_some());
    let place = if records { FilePlace::Recorder } else { FilePlace::Kept };
    let span = Some(span(clock, file.started, file.ended));
    let capture = capture.map_or(started, |capture| capture.since);
    FileRecord { file, capture, place, span, frozen: false, cause: None, asked: false }
}

/// Looks into a file whose end is not known. One that ends in its own counts is whole, and stays as it is; another is
/// cut to its last whole block and gets a last one that says so. One without a packet is removed.
fn examine(store: &Store, name: &str) -> Result<Option<Found>, StoreError> {
    let failed = |operation| move |source| StoreError::File { operation, name: name.to_owned(), source };
    let path = store.path(name)?;
    let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed("open"))?;
    let whole = pcapng::whole(BufReader::new(&file)).map_err(failed("read"))?;
    let facts = file.metadata().map_err(failed("examine"))?;
    let torn = whole.length < facts.len();
    file.seek(SeekFrom::Start(0)).map_err(failed("seek in"))?;
    let counted = if torn { None } else { counts(&file) };
    if whole.packets == 0 && counted.as_ref().is_none_or(|found| found.incomplete.is_empty()) {
        fs::remove_file(&path).map_err(failed("remove"))?;
        return Ok(None);
    }
    if let Some(found) = counted {
        return Ok(Some(Found { size: whole.length, packets: whole.packets, ..found }));
    }
    let modified = facts.modified().map_err(failed("examine"))?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let ended = modified.as_millis() as UnixMillis;
    file.set_len(whole.length).map_err(failed("cut"))?;
    let at = jiff::Timestamp::from_millisecond(ended as i64).unwrap_or_default();
    let incomplete = format!(
        "incomplete: the agent was stopped while writing this file; packets after about {at:.3} are missing, and the \
         number of drops is unknown"
    );
    let mut block = Vec::new();
    let counts = pcapng::StatisticsBlock {
        interface: 0,
        at: ended * 1_000_000,
        since: 0,
        received: whole.packets,
        dropped_by_interface: 0,
        dropped_by_kernel: 0,
        delivered: whole.packets,
        comment: &incomplete,
    };
    pcapng::interface_statistics(&mut block, &counts);
    let marked = file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(&block));
    let mut size = whole.length;
    if marked.is_ok() {
        size += block.len() as u64;
    } else {
        // A full disk takes no more: the list alone says it, of whole blocks.
        file.set_len(size).map_err(failed("cut"))?;
    }
    Ok(Some(Found { size, packets: whole.packets, ended, dropped: Dropped::default(), incomplete }))
}

/// What a file that ends in its own counts says there; `None` for one that does not, or that cannot be read.
fn counts(file: &File) -> Option<Found> {
    let mut reader = Reader::new(file.take(u64::MAX));
    let mut found = Found { size: 0, packets: 0, ended: 0, dropped: Dropped::default(), incomplete: String::new() };
    let mut at_end = false;
    while let Some(block) = reader.next_block().ok()? {
        at_end = matches!(block, Block::Statistics(_));
        let Block::Statistics(counts) = block else { continue };
        found.ended = found.ended.max(counts.at / 1_000_000);
        found.dropped.kernel += counts.dropped_by_kernel;
        found.dropped.interface += counts.dropped_by_interface;
        let reached = counts.delivered.saturating_add(counts.dropped_by_kernel);
        found.dropped.queue += counts.received.saturating_sub(reached);
        for comment in counts.comments {
            if !found.incomplete.contains(&comment) {
                let join = if found.incomplete.is_empty() { "" } else { "; " };
                found.incomplete = format!("{}{join}{comment}", found.incomplete);
            }
        }
    }
    at_end.then_some(found)
}
