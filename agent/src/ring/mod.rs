//! The ring: the node-side store of capture files, bounded in bytes, and what is remembered of them.
//!
//! Owns the list of files, the bound, what goes first when room is needed, and `manifest.json`, from which a restarted
//! agent goes on. Shared by the writer, the uploader and the hub; every change is one short lock. Must not know
//! packets, tunnels or how files are delivered.

pub mod store;

use std::{
    fs::File,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use nodewatch_protocol::{
    Amount, CaptureFile, CaptureRecord, CaptureSpec, Delivery, Dropped, FilePlace, FileRecord, FileState, NodeManifest,
    OwnSink, PendingFreeze, ReportPlan, RingState, SinkState, StopReason, UnixMillis,
};
use tokio::sync::watch;

use store::{Store, StoreError};

/// More files than this would not fit one line of the protocol.
const MAX_FILES: usize = 1024;
/// Files remembered, those that are gone included.
const MAX_RECORDS: usize = 4096;
/// Captures remembered.
const MAX_CAPTURES: usize = 256;
/// Sayings that wait for the hub.
const MAX_MESSAGES: usize = 64;

/// Where the numbers of a ring's files come from, each larger than any before. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Sequence(Arc<AtomicU64>);

impl Sequence {
    /// The next file's.
    pub fn take(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// No number up to this one comes any more.
    fn pass(&self, number: u64) {
        self.0.fetch_max(number.saturating_add(1), Ordering::Relaxed);
    }

    fn peek(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The ring. Clones share it.
#[derive(Clone)]
pub struct Ring {
    store: Store,
    sequence: Sequence,
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
}

struct State {
    manifest: NodeManifest,
    /// The capture's bound in bytes.
    bound: u64,
    /// What the volume was made for, where somebody has said it.
    volume: u64,
    messages: Vec<String>,
    retries: u64,
    /// Bytes that are about to be written and are in no file yet.
    reserved: u64,
    /// The manifest could not be written, which is told once.
    unwritten: bool,
}

impl Ring {
    /// The ring with what the process before this one has left in it: torn files are cut to their last whole block and
    /// marked, empty ones removed.
    pub fn open(store: Store, node: &str) -> Result<Self, StoreError> {
        let manifest = store.read_manifest().unwrap_or_default();
        let mut state = State {
            manifest: NodeManifest { node: node.to_owned(), ..manifest },
            bound: CaptureSpec::default().ring_bytes,
            volume: u64::MAX,
            messages: Vec::new(),
            retries: 0,
            reserved: 0,
            unwritten: false,
        };
        if state.manifest.ring.is_empty() {
            state.manifest.ring = store::chance();
        }
        let present = store.names()?;
        let sequence = Sequence::default();
        sequence.pass(state.manifest.next_sequence.saturating_sub(1));
        let known = state.manifest.files.iter().map(|record| record.file.sequence);
        for number in known.chain(present.iter().filter_map(|name| store::sequence_of(name))) {
            sequence.pass(number);
        }
        // A list of an earlier release has no numbers, but is in order.
        for record in state.manifest.files.iter_mut().filter(|record| record.file.sequence == 0) {
            record.file.sequence = sequence.take();
        }
        for record in state.manifest.files.iter_mut().filter(|record| record.place != FilePlace::Gone) {
            if !present.contains(&record.file.name) {
                if record.place == FilePlace::Kept && !record.file.is_elsewhere() {
                    state.manifest.discarded.add(&record.file);
                    state
                        .messages
                        .push(format!("{} is no longer in the ring, and was not delivered", record.file.name));
                }
                record.place = FilePlace::Gone;
            }
            if let Delivery::Sending { .. } | Delivery::Waiting { .. } = record.file.delivery {
                record.file.delivery = Delivery::Held;
            }
        }
        for name in &present {
            let known = state.manifest.files.iter().position(|record| record.file.name == *name);
            if known.is_some_and(|at| state.manifest.files[at].file.state == FileState::Closed) {
                continue;
            }
            match (store.recover_file(name)?, known) {
                (Some(file), Some(at)) => {
                    let CaptureFile { started, sequence, .. } = state.manifest.files[at].file;
                    state.manifest.files[at].file = CaptureFile { started, sequence, ..file };
                }
                (Some(file), None) => {
                    let capture = state.manifest.captures.last().map_or(file.started, |capture| capture.since);
                    let taken = |number: &u64| state.manifest.files.iter().all(|one| one.file.sequence != *number);
                    let number = store::sequence_of(name).filter(taken).unwrap_or_else(|| sequence.take());
                    let file = CaptureFile { sequence: number, ..file };
                    let place = FilePlace::Kept;
                    state.manifest.files.push(FileRecord { file, capture, place, span: None, frozen: false });
                }
                (None, Some(at)) => drop(state.manifest.files.remove(at)),
                (None, None) => {}
            }
        }
        state.manifest.files.sort_by_key(|record| record.file.sequence);
        let ring = Self { store, sequence, state: Arc::new(Mutex::new(state)), changes: watch::channel(0).0 };
        ring.change(|_| ());
        Ok(ring)
    }

    /// The volume is meant for so much, whatever a capture asks for and the file system has.
    pub fn limit_volume(&self, bytes: u64) {
        self.lock().volume = bytes;
    }

    /// Tells whenever something has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The numbers of its files.
    pub fn sequence(&self) -> Sequence {
        self.sequence.clone()
    }

    /// The folder behind it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A capture that the process before this one did not end.
    pub fn interrupted(&self) -> Option<CaptureRecord> {
        self.lock().manifest.captures.last().filter(|capture| capture.ended.is_none()).cloned()
    }

    /// What is remembered.
    pub fn manifest(&self) -> NodeManifest {
        self.lock().manifest.clone()
    }

    /// Files in the ring, oldest first, a flight recorder's memory left out.
    pub fn files(&self) -> Vec<CaptureFile> {
        let state = self.lock();
        let mut files: Vec<_> = state.kept().map(|record| record.file.clone()).collect();
        // The newest are those that people look for.
        files.drain(..files.len().saturating_sub(MAX_FILES));
        files
    }

    /// How it stands; where files go is the uploader's to say.
    pub fn state(&self, sink: SinkState) -> RingState {
        let limit = self.limit();
        let state = self.lock();
        let mut queued = Amount::default();
        for record in state.kept().filter(|record| is_queued(record)) {
            queued.add(&record.file);
        }
        RingState {
            used: state.used(),
            limit,
            queued,
            delivered: state.manifest.delivered,
            discarded: state.manifest.discarded,
            lost: state.manifest.lost,
            retries: state.retries,
            sink,
        }
    }

    /// Something for the people who watch.
    pub fn say(&self, message: String) {
        self.lock().say(message);
        self.tell();
    }

    /// What there was to say since the last time.
    pub fn messages(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().messages)
    }

    /// A capture begins, under its own bound.
    pub fn capture_began(&self, record: CaptureRecord) {
        self.change(|state| {
            state.bound = record.spec.ring_bytes;
            // One that was interrupted is over now.
            for capture in &mut state.manifest.captures {
                capture.ended.get_or_insert((record.since, StopReason::AgentEnds));
            }
            state.manifest.captures.push(record);
            let surplus = state.manifest.captures.len().saturating_sub(MAX_CAPTURES);
            state.manifest.captures.drain(..surplus);
        });
    }

    /// The running capture has ended.
    pub fn capture_ended(&self, at: UnixMillis, reason: StopReason) {
        self.change(|state| {
            if let Some(capture) = state.manifest.captures.last_mut() {
                capture.ended.get_or_insert((at, reason));
            }
        });
    }

    /// Begins a file of the running capture.
    pub fn begin(&self, name: String, started: UnixMillis, place: FilePlace) -> Result<File, StoreError> {
        let file = self.store.create(&name)?;
        self.change(|state| {
            let capture = state.manifest.captures.last().map_or(started, |capture| capture.since);
            let sequence = store::sequence_of(&name).unwrap_or_else(|| self.sequence.take());
            self.sequence.pass(sequence);
            let file = CaptureFile {
                name,
                sequence,
                size: 0,
                packets: 0,
                started,
                ended: 0,
                state: FileState::Open,
                dropped: Dropped::default(),
                incomplete: String::new(),
                sha256: None,
                delivery: Delivery::Held,
                fetched: false,
            };
            state.manifest.files.push(FileRecord { file, capture, place, span: None, frozen: false });
            state.forget_oldest();
        });
        Ok(file)
    }

    /// Makes room for so many bytes: delivered files go first, then the oldest. What goes undelivered is counted and
    /// said.
    pub fn make_room(&self, bytes: u64) -> Result<(), StoreError> {
        let limit = self.limit();
        let victims = {
            let state = self.lock();
            victims(&state.manifest.files, limit.saturating_sub(bytes))
        };
        for name in victims {
            self.discard(&name, "the ring is full")?;
        }
        Ok(())
    }

    /// Room for what is needed for a moment, until the value is dropped. Nothing goes for it: `None` when there is none.
    pub fn reserve_scratch(&self, bytes: u64) -> Option<Reservation> {
        let limit = self.limit();
        let mut state = self.lock();
        if state.used().saturating_add(bytes) > limit {
            return None;
        }
        state.reserved += bytes;
        drop(state);
        Some(Reservation { ring: self.clone(), bytes })
    }

    /// So many bytes and packets were appended to a file. Not a change that a restart must know of.
    pub fn appended(&self, name: &str, bytes: u64, packets: u64) {
        {
            let mut state = self.lock();
            let Some(record) = state.record(name) else { return };
            record.file.size += bytes;
            record.file.packets += packets;
        }
        self.tell();
    }

    /// A file has got its last byte.
    pub fn close(&self, name: &str, ended: UnixMillis, dropped: Dropped, incomplete: &str) {
        self.change(|state| {
            let Some(record) = state.record(name) else { return };
            record.file.state = FileState::Closed;
            record.file.ended = ended;
            record.file.dropped = dropped;
            record.file.incomplete.push_str(incomplete);
        });
    }

    /// The bytes that a file has by the ring's own count.
    pub fn size(&self, name: &str) -> u64 {
        self.lock().record(name).map_or(0, |record| record.file.size)
    }

    /// The files that are to be delivered yet, in order.
    pub fn to_deliver(&self) -> Vec<CaptureFile> {
        self.lock().kept().filter(|record| is_queued(record)).map(|record| record.file.clone()).collect()
    }

    /// The oldest file to deliver that nobody is delivering, which from now on somebody is.
    pub fn claim_queued(&self) -> Option<CaptureFile> {
        let mut state = self.lock();
        let free =
            |record: &&mut FileRecord| is_queued(record) && !matches!(record.file.delivery, Delivery::Sending { .. });
        let record = state.manifest.files.iter_mut().find(free)?;
        record.file.delivery = Delivery::Sending { sent: 0 };
        Some(record.file.clone())
    }

    /// Files that are to be delivered yet.
    pub fn queued(&self) -> usize {
        self.lock().kept().filter(|record| is_queued(record)).count()
    }

    /// How a file's delivery goes.
    pub fn set_delivery(&self, name: &str, delivery: Delivery) {
        if let Delivery::Sending { .. } = delivery {
            if let Some(record) = self.lock().record(name) {
                record.file.delivery = delivery;
            }
            return self.tell();
        }
        self.change(|state| {
            if let Delivery::Waiting { .. } = delivery {
                state.retries += 1;
            }
            let Some(at) = state.manifest.files.iter().position(|record| record.file.name == name) else { return };
            if delivery.is_delivered() {
                let record = &state.manifest.files[at];
                let file = record.file.clone();
                // Thrown away while its last bytes were under way: it has got there all the same.
                if record.place == FilePlace::Gone && !record.file.is_elsewhere() {
                    let discarded = &mut state.manifest.discarded;
                    discarded.files -= discarded.files.min(1);
                    discarded.bytes -= discarded.bytes.min(file.size);
                    discarded.packets -= discarded.packets.min(file.packets);
                }
                state.manifest.delivered.add(&file);
            }
            if let Delivery::Lost { .. } = delivery
                && !state.manifest.files[at].file.delivery.is_over()
            {
                let file = state.manifest.files[at].file.clone();
                state.manifest.lost.add(&file);
            }
            state.manifest.files[at].file.delivery = delivery;
        });
    }

    /// A file's checksum is known.
    pub fn set_checksum(&self, name: &str, sha256: String) {
        self.change(|state| {
            if let Some(record) = state.record(name) {
                record.file.sha256 = Some(sha256);
            }
        });
    }

    /// A laptop has a file.
    pub fn set_fetched(&self, name: &str) {
        self.change(|state| {
            if let Some(record) = state.record(name) {
                record.file.fetched = true;
            }
        });
    }

    /// Removes a closed file because somebody asked; one that was not delivered counts as thrown away.
    pub fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let there = {
            let mut state = self.lock();
            let record = state.record(name);
            record.is_some_and(|record| record.place == FilePlace::Kept && record.file.state == FileState::Closed)
        };
        if there {
            self.discard(name, "removed as asked")?;
        }
        Ok(there)
    }

    /// A part of the flight recorder's time is to be saved.
    pub fn add_freeze(&self, span: PendingFreeze) {
        self.change(|state| state.manifest.freezes.push(span));
    }

    /// It was saved, or cannot be.
    pub fn drop_freeze(&self, span: PendingFreeze) {
        self.change(|state| state.manifest.freezes.retain(|one| *one != span));
    }

    /// Spans that are to be saved.
    pub fn freezes(&self) -> Vec<PendingFreeze> {
        self.lock().manifest.freezes.clone()
    }

    /// The recorder's closed files that have to do with that span, opened, oldest first.
    pub fn segments(&self, span: PendingFreeze) -> Result<Vec<(CaptureFile, File)>, StoreError> {
        // Under the lock, so that none of them goes meanwhile.
        let state = self.lock();
        let wanted = state.manifest.files.iter().filter(|record| {
            let file = &record.file;
            record.place == FilePlace::Recorder
                && file.state == FileState::Closed
                && file.started <= span.to
                && file.ended >= span.from
        });
        wanted.map(|record| Ok((record.file.clone(), self.store.read_from(&record.file.name, 0)?))).collect()
    }

    /// Lets the recorder's files go that are older than `before`, or too many together; none that a span to be saved
    /// needs.
    pub fn prune_recorder(&self, before: UnixMillis, bytes: u64) -> Result<(), StoreError> {
        let old = {
            let state = self.lock();
            let needed = state.manifest.freezes.iter().map(|span| span.from).min().unwrap_or(UnixMillis::MAX);
            let segments = || state.manifest.files.iter().filter(|record| record.place == FilePlace::Recorder);
            let mut total: u64 = segments().map(|record| record.file.size).sum();
            let mut old = Vec::new();
            for file in segments().map(|record| &record.file).filter(|file| file.state == FileState::Closed) {
                if file.ended >= needed || (file.ended >= before && total <= bytes) {
                    break;
                }
                total -= file.size;
                old.push(file.name.clone());
            }
            old
        };
        for name in old {
            self.discard(&name, "")?;
        }
        Ok(())
    }

    /// Files go to a bucket with the agent's own credentials, also after a restart; `None` is no longer.
    pub fn remember_reports(&self, plan: Option<ReportPlan>) {
        self.change(|state| state.manifest.reports = plan);
    }

    pub fn remember_sink(&self, sink: Option<OwnSink>) {
        self.change(|state| state.manifest.sink = sink);
    }

    fn discard(&self, name: &str, why: &str) -> Result<(), StoreError> {
        let removed = self.store.remove(name);
        self.change(|state| {
            let Some(at) = state.manifest.files.iter().position(|record| record.file.name == name) else { return };
            let record = &mut state.manifest.files[at];
            let place = std::mem::replace(&mut record.place, FilePlace::Gone);
            let file = record.file.clone();
            if place == FilePlace::Kept && !file.is_elsewhere() {
                state.manifest.discarded.add(&file);
                state.say(format!(
                    "{why}: its oldest file {name} with {} packets was removed undelivered",
                    file.packets
                ));
            }
        });
        removed
    }

    /// The bound, the volume's own, and never more than 80 % of what the file system has left for us.
    pub fn limit(&self) -> u64 {
        let (bound, used) = {
            let state = self.lock();
            (state.bound.min(state.volume), state.used())
        };
        let Some(available) = self.store.available() else { return bound };
        bound.min((available.saturating_add(used) / 5).saturating_mul(4))
    }

    /// A change that a restarted agent must know of.
    fn change(&self, change: impl FnOnce(&mut State)) {
        {
            let mut state = self.lock();
            change(&mut state);
            state.manifest.next_sequence = self.sequence.peek();
            let written = self.store.write_manifest(&state.manifest);
            match (&written, state.unwritten) {
                (Err(error), false) => {
                    let message = crate::error::chain(error);
                    state.say(format!("a restarted agent would not know of the latest files: {message}"));
                    state.unwritten = true;
                }
                (Ok(()), true) => state.unwritten = false,
                _ => {}
            }
        }
        self.tell();
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves the list whole, even one whose holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes in the ring that nobody else gets, until this is dropped.
pub struct Reservation {
    ring: Ring,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.ring.lock().reserved -= self.bytes;
    }
}

impl State {
    fn kept(&self) -> impl Iterator<Item = &FileRecord> {
        self.manifest.files.iter().filter(|record| record.place == FilePlace::Kept)
    }

    fn record(&mut self, name: &str) -> Option<&mut FileRecord> {
        // What is asked for is nearly always among the latest.
        self.manifest.files.iter_mut().rev().find(|record| record.file.name == name)
    }

    fn used(&self) -> u64 {
        let here = self.manifest.files.iter().filter(|record| record.place != FilePlace::Gone);
        here.map(|record| record.file.size).sum::<u64>() + self.reserved
    }

    fn forget_oldest(&mut self) {
        while self.manifest.files.len() > MAX_RECORDS {
            let Some(at) = self.manifest.files.iter().position(|record| record.place == FilePlace::Gone) else {
                return;
            };
            self.manifest.files.remove(at);
        }
    }

    fn say(&mut self, message: String) {
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(message);
        }
    }
}

fn is_queued(record: &FileRecord) -> bool {
    record.place == FilePlace::Kept && record.file.state == FileState::Closed && !record.file.delivery.is_over()
}

/// Which closed files go, so that all together take at most `limit` bytes: the oldest delivered ones, then the oldest,
/// one that is being sent last.
fn victims(files: &[FileRecord], limit: u64) -> Vec<String> {
    let here = || files.iter().filter(|record| record.place != FilePlace::Gone);
    let mut total: u64 = here().map(|record| record.file.size).sum();
    let mut count = here().count();
    let mut gone = Vec::new();
    let delivered = |record: &FileRecord| record.file.is_elsewhere();
    let sending = |record: &FileRecord| matches!(record.file.delivery, Delivery::Sending { .. });
    let closed = || here().filter(|record| record.file.state == FileState::Closed);
    let order = (closed().filter(|record| delivered(record)))
        .chain(closed().filter(|record| !delivered(record) && !sending(record)))
        .chain(closed().filter(|record| sending(record)));
    for record in order {
        if total <= limit && count <= MAX_FILES {
            break;
        }
        total -= record.file.size;
        count -= 1;
        gone.push(record.file.name.clone());
    }
    gone
}

#[cfg(test)]
mod tests;
