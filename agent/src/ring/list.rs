//! What a ring remembers: captures, files in their order, counts, and what is to be saved.
//!
//! Owns every change of it and what is under way at the moment. Pure: no disk, no clock, no thread.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use nodewatch_protocol::{
    Amount, BootSpan, CaptureFile, CaptureRecord, CaptureSpec, Delivery, Dropped, FilePlace, FileRecord, FileState,
    PendingFreeze, RingList, StopReason, UnixMillis,
};

use super::store::sequence_of;

/// Files remembered after they are gone.
const MAX_GONE: usize = 4096;
/// Captures remembered.
const MAX_CAPTURES: usize = 256;
/// Sayings that wait for the hub; of more, the number is said.
const MAX_MESSAGES: usize = 64;
/// Freezes that may wait at once.
const MAX_FREEZES: usize = 32;
/// A file's word on what is missing has this length at most: the list must fit its lines.
const MAX_INCOMPLETE: usize = 2000;
/// Packets reach a file a little after their time: this much more of the recorder belongs to a freeze, in milliseconds.
const SLACK: u64 = 2_000;

/// The list.
#[derive(Default)]
pub(super) struct List {
    /// All but the files.
    pub head: RingList,
    files: BTreeMap<u64, Entry>,
    /// Counts changes of files.
    revision: u64,
    /// Files that left the list without a record, with the revision.
    dropped: VecDeque<(u64, u64)>,
    /// Bytes that are about to be written and are in no file yet.
    pub reserved: u64,
    pub retries: u64,
    /// How far the freezes that are being saved have got: everything up to that piece is copied.
    copied: BTreeMap<u64, u64>,
    messages: Vec<String>,
    unsaid: usize,
}

struct Entry {
    record: Arc<FileRecord>,
    revision: u64,
}

/// The list at one moment.
pub(super) struct Snapshot {
    head: RingList,
    files: Vec<Arc<FileRecord>>,
}

impl Snapshot {
    pub fn listed(self) -> RingList {
        let files = self.files.into_iter().map(Arc::unwrap_or_clone).collect();
        RingList { files, ..self.head }
    }
}

/// Why a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Going {
    /// Others need its room.
    Full,
    /// It is older than a recorder's memory goes back.
    Outdated,
    /// Somebody wanted it gone.
    Asked,
}

/// How a file ends.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// By the clock on the wall.
    pub ended: UnixMillis,
    /// By the boot-time clock.
    pub boot: u64,
    /// What was dropped while it was open.
    pub dropped: Dropped,
    /// What else is missing; empty for nothing.
    pub incomplete: String,
}

impl List {
    pub fn new(remembered: RingList) -> Self {
        let mut list = Self { head: RingList { files: Vec::new(), ..remembered }, ..Self::default() };
        for record in remembered.files {
            list.insert(record);
        }
        list
    }

    pub fn snapshot(&self) -> Snapshot {
        let files = self.files.values().map(|entry| Arc::clone(&entry.record)).collect();
        Snapshot { head: self.head.clone(), files }
    }

    pub fn records(&self) -> impl Iterator<Item = &FileRecord> {
        self.files.values().map(|entry| &*entry.record)
    }

    pub fn kept(&self) -> impl Iterator<Item = &FileRecord> {
        self.records().filter(|record| record.place == FilePlace::Kept)
    }

    pub fn get(&self, sequence: u64) -> Option<&FileRecord> {
        self.files.get(&sequence).map(|entry| &*entry.record)
    }

    /// The file of that name.
    pub fn find(&self, name: &str) -> Option<u64> {
        let is = |sequence: &u64| self.get(*sequence).is_some_and(|record| record.file.name == name);
        sequence_of(name).filter(is).or_else(|| {
            let record = self.records().find(|record| record.file.name == name);
            record.map(|record| record.file.sequence)
        })
    }

    fn change(&mut self, sequence: u64) -> Option<&mut FileRecord> {
        let entry = self.files.get_mut(&sequence)?;
        self.revision += 1;
        entry.revision = self.revision;
        Some(Arc::make_mut(&mut entry.record))
    }

    pub fn insert(&mut self, record: FileRecord) {
        self.revision += 1;
        let entry = Entry { revision: self.revision, record: Arc::new(record) };
        self.files.insert(entry.record.file.sequence, entry);
    }

    /// A file that nothing is to be remembered of.
    pub fn forget(&mut self, sequence: u64) {
        if let Some(entry) = self.files.remove(&sequence) {
            note_forgotten(&mut self.head, &entry.record);
            self.revision += 1;
            self.dropped.push_back((self.revision, sequence));
            if self.dropped.len() > MAX_GONE {
                self.dropped.pop_front();
            }
        }
    }

    /// Where the list is, for [`List::changes`].
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Files for people that are new or other since that revision, and the numbers of those that went.
    pub fn changes(&self, since: u64) -> (Vec<CaptureFile>, Vec<u64>) {
        let mut files = Vec::new();
        let mut gone: Vec<u64> =
            self.dropped.iter().filter(|(revision, _)| *revision > since).map(|(_, sequence)| *sequence).collect();
        for (sequence, entry) in self.files.iter().filter(|(_, entry)| entry.revision > since) {
            match entry.record.place {
                FilePlace::Kept => files.push(entry.record.file.clone()),
                FilePlace::Gone => gone.push(*sequence),
                FilePlace::Recorder => {}
            }
        }
        (files, gone)
    }

    pub fn capture_began(&mut self, mut record: CaptureRecord, resumed: bool) {
        let before = self.head.captures.last().map(|capture| capture.since);
        record.resumes = before.filter(|_| resumed);
        // One that was interrupted is over now.
        for capture in &mut self.head.captures {
            capture.ended.get_or_insert((record.since, StopReason::AgentEnds));
        }
        if !resumed {
            self.forget_freezes();
        }
        for freeze in &mut self.head.freezes {
            freeze.capture = record.since;
        }
        self.head.captures.push(record);
        let surplus = self.head.captures.len().saturating_sub(MAX_CAPTURES);
        self.head.captures.drain(..surplus);
        let captures = &self.head.captures;
        self.head.forgotten.retain(|since, _| captures.iter().any(|capture| capture.since == *since));
    }

    pub fn capture_ended(&mut self, at: UnixMillis, reason: StopReason) {
        if let Some(capture) = self.head.captures.last_mut() {
            capture.ended.get_or_insert((at, reason));
        }
    }

    /// The capture that runs, or was running when the agent was stopped.
    pub fn running(&self) -> Option<&CaptureRecord> {
        self.head.captures.last().filter(|capture| capture.ended.is_none())
    }

    /// The capture that files now belong to, and those that it goes on with.
    pub fn live(&self) -> Vec<UnixMillis> {
        let mut live: Vec<UnixMillis> = Vec::new();
        let mut next = self.running();
        while let Some(capture) = next.filter(|capture| !live.contains(&capture.since)) {
            live.push(capture.since);
            let before = capture.resumes;
            next = before.and_then(|since| self.head.captures.iter().find(|one| one.since == since));
        }
        live
    }

    /// So many bytes and packets were appended. What was reserved for them is no longer.
    pub fn appended(&mut self, name: &str, bytes: u64, packets: u64) {
        let Some(at) = self.find(name) else { return };
        let Some(record) = self.change(at) else { return };
        record.file.size += bytes;
        record.file.packets += packets;
    }

    /// A file has got its last byte. False when there is nothing in it, and nothing to say of it: then it is forgotten.
    pub fn close(&mut self, name: &str, ending: &Ending) -> bool {
        let Some(at) = self.find(name) else { return true };
        let Some(record) = self.change(at) else { return true };
        let file = &mut record.file;
        file.state = FileState::Closed;
        file.ended = ending.ended;
        add(&mut file.dropped, ending.dropped);
        add_words(&mut file.incomplete, &ending.incomplete);
        if let Some(span) = &mut record.span {
            span.to = ending.boot.max(span.from);
        }
        let empty = file.packets == 0 && file.is_complete() && record.place == FilePlace::Kept;
        if empty {
            self.forget(at);
        }
        !empty
    }

    /// Packets that were captured did not reach a file which is closed.
    pub fn add_lost(&mut self, name: &str, queue: u64) {
        let Some(at) = self.find(name) else { return };
        if let Some(record) = self.change(at) {
            record.file.dropped.queue += queue;
        }
    }

    /// A file is no longer in the folder. What nobody else has is counted and said, but for what somebody wanted gone.
    pub fn went(&mut self, sequence: u64, why: Going) {
        let Some(record) = self.change(sequence) else { return };
        let place = std::mem::replace(&mut record.place, FilePlace::Gone);
        record.asked |= place == FilePlace::Kept && why == Going::Asked;
        let record = record.clone();
        match place {
            // A recorder's memory is nobody's file: it goes without a word.
            FilePlace::Recorder => self.forget(sequence),
            FilePlace::Kept if !record.asked && !record.file.is_elsewhere() => {
                let what = if record.frozen { "its oldest saved freeze" } else { "its oldest file" };
                let CaptureFile { name, packets, .. } = &record.file;
                let how = if is_discarded(&record) {
                    self.head.discarded.add(&record.file);
                    "undelivered"
                } else {
                    "before its delivery to S3 was confirmed"
                };
                self.say(format!("the ring is full: {what} {name} with {packets} packets was removed {how}"));
            }
            FilePlace::Kept | FilePlace::Gone => {}
        }
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        let gone: Vec<u64> = (self.files.iter().filter(|(_, entry)| entry.record.place == FilePlace::Gone))
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in gone.iter().take(gone.len().saturating_sub(MAX_GONE)) {
            if let Some(entry) = self.files.remove(sequence) {
                note_forgotten(&mut self.head, &entry.record);
            }
        }
    }

    /// How a file's delivery goes. False when there is no such file in the folder any more.
    pub fn set_delivery(&mut self, name: &str, delivery: Delivery) -> bool {
        if let Delivery::Waiting { .. } = delivery {
            self.retries += 1;
        }
        let Some(at) = self.find(name) else { return false };
        let there = self.get(at).is_some_and(|record| record.place == FilePlace::Kept);
        // Its going has been told already, or was wanted: that it cannot be delivered either is no second loss.
        if !there && matches!(delivery, Delivery::Lost { .. }) {
            return false;
        }
        let Some(record) = self.change(at) else { return false };
        let before = record.clone();
        record.file.delivery = delivery;
        let now = record.clone();
        // Thrown away while its last bytes were under way: it has got there all the same.
        self.recount(&before, &now);
        if now.file.delivery.is_delivered() && !before.file.delivery.is_delivered() {
            self.head.delivered.add(&now.file);
        }
        there
    }

    /// A laptop has a file, which therefore was not lost even if it is gone here.
    pub fn set_fetched(&mut self, name: &str) {
        let Some(at) = self.find(name) else { return };
        let Some(record) = self.change(at) else { return };
        let before = record.clone();
        record.file.fetched = true;
        let now = record.clone();
        self.recount(&before, &now);
    }

    /// Each file is in these counts as what it is now, once.
    fn recount(&mut self, before: &FileRecord, now: &FileRecord) {
        if is_discarded(before) && !is_discarded(now) {
            take(&mut self.head.discarded, &now.file);
        }
        match (is_lost(before), is_lost(now)) {
            (false, true) => self.head.lost.add(&now.file),
            (true, false) => take(&mut self.head.lost, &now.file),
            (true, true) | (false, false) => {}
        }
    }

    pub fn set_checksum(&mut self, name: &str, sha256: String) {
        let Some(at) = self.find(name) else { return };
        if let Some(record) = self.change(at) {
            record.file.sha256 = Some(sha256);
        }
    }

    /// False when too many wait already.
    pub fn add_freeze(&mut self, freeze: PendingFreeze) -> bool {
        let room = self.head.freezes.len() < MAX_FREEZES;
        if room {
            self.head.freezes.push(freeze);
        }
        room
    }

    /// It was saved, or cannot be.
    pub fn drop_freeze(&mut self, id: u64) {
        self.head.freezes.retain(|one| one.id != id);
        self.copied.remove(&id);
    }

    /// Freezes of a capture that is over cannot be saved by the next one.
    fn forget_freezes(&mut self) {
        for freeze in std::mem::take(&mut self.head.freezes) {
            let seconds = freeze.span.to.saturating_sub(freeze.span.from) / 1000;
            self.say(format!("a freeze of {seconds} s was not saved: its capture ended first"));
        }
        self.copied.clear();
    }

    /// That freeze has copied everything up to this piece.
    pub fn copied(&mut self, freeze: u64, piece: u64) {
        self.copied.insert(freeze, piece);
    }

    /// The recorder's closed pieces that have to do with a freeze, in order.
    pub fn pieces(&self, freeze: &PendingFreeze) -> Vec<FileRecord> {
        let closed = |record: &&FileRecord| {
            record.place == FilePlace::Recorder && record.file.state == FileState::Closed && self.wants(freeze, record)
        };
        self.records().filter(closed).cloned().collect()
    }

    /// A freeze takes that piece: one of its time, and of a capture of the same packets. What an earlier recorder with another
    /// filter has left is none of its.
    fn wants(&self, freeze: &PendingFreeze, record: &FileRecord) -> bool {
        let of = |since: UnixMillis| self.head.captures.iter().find(|capture| capture.since == since);
        let same = record.capture == freeze.capture
            || match (of(record.capture), of(freeze.capture)) {
                (Some(before), Some(now)) => takes_the_same(&before.spec, &now.spec),
                _ => true,
            };
        same && touches(record, freeze)
    }

    /// A freeze that waits will copy this piece yet.
    pub fn is_needed(&self, record: &FileRecord) -> bool {
        self.head.freezes.iter().any(|freeze| {
            self.wants(freeze, record)
                && self.copied.get(&freeze.id).is_none_or(|copied| *copied < record.file.sequence)
        })
    }

    /// Bytes of all files in the folder.
    pub fn used(&self) -> u64 {
        self.records().filter(|record| record.place != FilePlace::Gone).map(|record| record.file.size).sum::<u64>()
            + self.reserved
    }

    /// What is to be delivered yet.
    pub fn queued(&self) -> Amount {
        let mut queued = Amount::default();
        for record in self.kept().filter(|record| is_queued(record)) {
            queued.add(&record.file);
        }
        queued
    }

    pub fn say(&mut self, message: String) {
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(message);
        } else {
            self.unsaid += 1;
        }
    }

    pub fn messages(&mut self) -> Vec<String> {
        let mut messages = std::mem::take(&mut self.messages);
        let unsaid = std::mem::take(&mut self.unsaid);
        if unsaid > 0 {
            messages.push(format!("{unsaid} more messages from the ring were skipped"));
        }
        messages
    }
}

/// Whoever reads the capture as one stream must know that packets were there. What was frozen is no part of that.
pub(super) fn note_forgotten(head: &mut RingList, record: &FileRecord) {
    if record.file.packets > 0 && !record.frozen {
        let last = head.forgotten.entry(record.capture).or_default();
        *last = record.file.sequence.max(*last);
    }
}

/// It is closed, nobody has it, and it can get there.
pub(super) fn is_queued(record: &FileRecord) -> bool {
    record.place == FilePlace::Kept && record.file.state == FileState::Closed && !record.file.delivery.is_over()
}

/// It is gone, against everybody's will, and nobody has got it.
pub(super) fn is_discarded(record: &FileRecord) -> bool {
    let FileRecord { file, place, asked, .. } = record;
    *place == FilePlace::Gone && !asked && !file.fetched && !file.delivery.is_delivered()
}

/// It can never be delivered, and no laptop has it.
pub(super) fn is_lost(record: &FileRecord) -> bool {
    matches!(record.file.delivery, Delivery::Lost { .. }) && !record.file.fetched
}

/// Two captures keep the same of the same packets.
fn takes_the_same(one: &CaptureSpec, other: &CaptureSpec) -> bool {
    let of = |spec: &CaptureSpec| {
        (spec.filter.clone(), spec.interfaces.clone(), spec.snaplen, spec.content, spec.include_own)
    };
    of(one) == of(other)
}

/// A piece of which nothing is known when it was captured is taken for one that matters.
fn touches(record: &FileRecord, freeze: &PendingFreeze) -> bool {
    let BootSpan { from, to } = freeze.span;
    record.place == FilePlace::Recorder
        && record.span.is_none_or(|span| span.from <= to + SLACK && span.to + SLACK >= from)
}

fn add(sum: &mut Dropped, more: Dropped) {
    sum.kernel += more.kernel;
    sum.interface += more.interface;
    sum.queue += more.queue;
}

fn take(sum: &mut Amount, file: &CaptureFile) {
    sum.files = sum.files.saturating_sub(1);
    sum.bytes = sum.bytes.saturating_sub(file.size);
    sum.packets = sum.packets.saturating_sub(file.packets);
}

fn add_words(sum: &mut String, words: &str) {
    if words.is_empty() || sum.len() >= MAX_INCOMPLETE {
        return;
    }
    if !sum.is_empty() {
        sum.push_str("; ");
    }
    let room = MAX_INCOMPLETE.saturating_sub(sum.len());
    if words.len() <= room {
        sum.push_str(words);
    } else {
        let end = (0..=room).rev().find(|&at| words.is_char_boundary(at)).unwrap_or_default();
        sum.push_str(&words[..end]);
        sum.push('…');
    }
}
