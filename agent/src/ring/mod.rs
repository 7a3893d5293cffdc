//! The ring: the node-side store of capture files, bounded in bytes, and what is remembered of them.
//!
//! Owns the list of files and what goes first when room is needed. Shared by the capture thread, the writer, the
//! uploader and the hub: every change is one short lock, which is never held over the disk; `manifest.json`, from which
//! a restarted agent goes on, is written by a thread of its own. Must not know packets, tunnels or how files are
//! delivered.

mod freezes;
mod keeper;
mod list;
pub mod listing;
mod recover;
mod reservation;
mod room;
pub mod store;

use std::{
    collections::BTreeSet,
    fs::File,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nodewatch_protocol::{
    BootSpan, CaptureFile, CaptureRecord, CaptureSpec, Delivery, Dropped, FilePlace, FileRecord, FileState,
    FreezeCause, OwnSink, PendingFreeze, ReportPlan, RingList, RingState, SinkState, StopReason, UnixMillis,
};
use tokio::sync::watch;

use crate::{clock::Clock, error::chain};
use keeper::Keeper;
pub use list::Ending;
use list::{Going, List, is_queued};
pub use reservation::Reservation;
use room::Bounds;
use store::{Lock, Store, StoreError};

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

/// A file as it begins.
#[derive(Debug, Clone, Default)]
pub struct Beginning {
    /// Its name, which ends in its number.
    pub name: String,
    /// When, by the clock on the wall.
    pub started: UnixMillis,
    /// When, by the boot-time clock.
    pub boot: u64,
    /// What it is to the ring.
    pub place: FilePlace,
    /// It is saved out of a recorder's memory.
    pub frozen: bool,
    /// Why, where nobody has asked for that.
    pub cause: Option<FreezeCause>,
    /// Of which capture it is, by when that began; `None` is the one that runs.
    pub capture: Option<UnixMillis>,
    /// What is missing before it; empty for nothing.
    pub incomplete: String,
}

/// The ring. Clones share it.
#[derive(Clone)]
pub struct Ring {
    shared: Arc<Shared>,
    keeper: Arc<Keeper>,
}

struct Shared {
    store: Store,
    clock: Clock,
    sequence: Sequence,
    list: Mutex<Inner>,
    /// Held by whoever removes files, so that no two count on the same room. Not for the capture thread or the hub.
    room: Mutex<()>,
    /// Held by whoever saves freezes of a capture that is over.
    saving: Mutex<()>,
    /// What the file system has room for as it was seen last.
    free: AtomicU64,
    changes: watch::Sender<u64>,
    /// Freezes that wait, for the capture thread.
    freezes: watch::Sender<Vec<PendingFreeze>>,
    /// Nobody else uses the folder.
    _lock: Lock,
}

struct Inner {
    list: List,
    /// The capture's bound in bytes.
    bound: u64,
    /// What the volume was made for, where somebody has said it.
    volume: u64,
    /// The list could not be written, which is told once.
    unwritten: bool,
    /// Files that could not be removed, which is told once of each.
    stuck: BTreeSet<u64>,
}

impl Inner {
    /// A file that was to make room stays, for that reason.
    fn cannot_go(&mut self, sequence: u64, reason: &str) {
        if self.stuck.insert(sequence) {
            let name = self.list.get(sequence).map(|record| record.file.name.clone()).unwrap_or_default();
            self.list.say(format!("cannot remove {name}: {reason}; removing other files instead"));
        }
    }
}

impl Ring {
    /// The ring with what the process before this one has left in it: torn files are cut to their last whole block and
    /// marked, empty ones removed. Refused while another agent uses the folder.
    pub fn open(store: Store, node: &str) -> Result<Self, StoreError> {
        Self::open_by(store, node, Clock::system())
    }

    /// The same by another clock.
    pub fn open_by(store: Store, node: &str, clock: Clock) -> Result<Self, StoreError> {
        let lock = store.lock()?;
        let sequence = Sequence::default();
        let (remembered, said) = recover::recover(&store, node, &clock, &sequence)?;
        let mut list = List::new(remembered);
        for message in said {
            list.say(message);
        }
        let inner = Inner {
            list,
            bound: CaptureSpec::default().ring_bytes,
            volume: u64::MAX,
            unwritten: false,
            stuck: BTreeSet::new(),
        };
        let shared = Arc::new(Shared {
            freezes: watch::channel(inner.list.head.freezes.clone()).0,
            store,
            clock,
            sequence,
            list: Mutex::new(inner),
            room: Mutex::new(()),
            saving: Mutex::new(()),
            free: AtomicU64::new(u64::MAX),
            changes: watch::channel(0).0,
            _lock: lock,
        });
        shared.look_at_the_volume();
        let writing = Arc::clone(&shared);
        let keeper = Keeper::start(move || writing.write_list()).map_err(StoreError::Thread)?;
        let ring = Self { shared, keeper: Arc::new(keeper) };
        ring.change(|_| ());
        Ok(ring)
    }

    /// The volume is meant for so much, whatever a capture asks for and the file system has.
    pub fn limit_volume(&self, bytes: u64) {
        self.lock().volume = bytes;
    }

    /// Tells whenever something has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Waits until all changes are on disk, as long as that: false when they are not.
    pub async fn remembered(&self, within: Duration) -> bool {
        tokio::time::timeout(within, self.keeper.written()).await.unwrap_or(false)
    }

    /// The same on a thread of one's own.
    pub fn wait_remembered(&self, within: Duration) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.is_ok_and(|runtime| runtime.block_on(self.remembered(within)))
    }

    /// The numbers of its files.
    pub fn sequence(&self) -> Sequence {
        self.shared.sequence.clone()
    }

    /// What it measures spans and ages by.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The folder behind it.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// A capture that the process before this one did not end.
    pub fn interrupted(&self) -> Option<CaptureRecord> {
        self.lock().list.running().cloned()
    }

    /// What is remembered.
    pub fn list(&self) -> RingList {
        self.shared.list()
    }

    /// Its own name, which no other ring of the node has.
    pub fn name(&self) -> String {
        self.lock().list.head.ring.clone()
    }

    /// Files in the ring in their order, a flight recorder's memory left out.
    pub fn files(&self) -> Vec<CaptureFile> {
        self.lock().list.kept().map(|record| record.file.clone()).collect()
    }

    /// Where the list is, how many files it has, and what has changed since it was at `revision`.
    fn changes_since(&self, revision: u64) -> (u64, usize, Vec<CaptureFile>, Vec<u64>) {
        let inner = self.lock();
        let (files, gone) = inner.list.changes(revision);
        (inner.list.revision(), inner.list.kept().count(), files, gone)
    }

    /// How it stands; where files go is the uploader's to say.
    pub fn state(&self, sink: SinkState) -> RingState {
        let inner = self.lock();
        let (list, head) = (&inner.list, &inner.list.head);
        RingState {
            used: list.used(),
            limit: room::limit(list, self.shared.bounds(&inner)),
            queued: list.queued(),
            delivered: head.delivered,
            discarded: head.discarded,
            lost: head.lost,
            retries: list.retries,
            sink,
        }
    }

    /// Something for the people who watch.
    pub fn say(&self, message: String) {
        self.lock().list.say(message);
        self.shared.tell();
    }

    /// What there was to say since the last time.
    pub fn messages(&self) -> Vec<String> {
        let mut messages = self.lock().list.messages();
        if self.keeper.has_stalled() {
            messages.push("the ring's disk is stalled; a restart would forget what happens now".into());
        }
        messages
    }

    /// A capture begins, under its own bound; one that was interrupted goes on where it is `resumed`.
    pub fn capture_began(&self, record: CaptureRecord, resumed: bool) {
        self.change(|inner| {
            inner.bound = record.spec.ring_bytes;
            inner.list.capture_began(record, resumed);
        });
    }

    /// The running capture has ended.
    pub fn capture_ended(&self, at: UnixMillis, reason: StopReason) {
        self.change(|inner| inner.list.capture_ended(at, reason));
    }

    /// Begins a file of the running capture.
    pub fn begin(&self, beginning: Beginning) -> Result<File, StoreError> {
        let Beginning { name, started, boot, place, frozen, cause, incomplete, capture } = beginning;
        let file = self.shared.store.create(&name)?;
        let sequence = store::sequence_of(&name).unwrap_or_else(|| self.shared.sequence.take());
        self.shared.sequence.pass(sequence);
        self.change(|inner| {
            let running = || inner.list.head.captures.last().map_or(started, |capture| capture.since);
            let capture = capture.unwrap_or_else(running);
            let file = CaptureFile {
                name,
                sequence,
                size: 0,
                packets: 0,
                started,
                ended: 0,
                state: FileState::Open,
                dropped: Dropped::default(),
                incomplete,
                sha256: None,
                delivery: Delivery::Held,
                fetched: false,
                since: capture,
            };
            let span = Some(BootSpan { from: boot, to: boot });
            inner.list.insert(FileRecord { file, capture, place, span, frozen, cause, asked: false });
        });
        Ok(file)
    }

    /// A file has got its last byte. One without a packet and with nothing to say is removed.
    pub fn close(&self, name: &str, ending: &Ending) -> Result<(), StoreError> {
        let mut kept = true;
        self.change(|inner| kept = inner.list.close(name, ending));
        if kept { Ok(()) } else { self.shared.store.remove(name) }
    }

    /// A file that could not be made goes again, without a trace.
    pub fn give_up(&self, name: &str) -> Result<(), StoreError> {
        let removed = self.shared.store.remove(name);
        self.change(|inner| {
            if let Some(at) = inner.list.find(name) {
                inner.list.forget(at);
            }
        });
        removed
    }

    /// Packets that were captured could not be written any more into a file that is closed.
    pub fn add_lost(&self, name: &str, packets: u64) {
        self.change(|inner| inner.list.add_lost(name, packets));
    }

    /// The bytes that a file has by the ring's own count.
    pub fn size(&self, name: &str) -> u64 {
        let inner = self.lock();
        inner.list.find(name).and_then(|at| inner.list.get(at)).map_or(0, |record| record.file.size)
    }

    /// The files that are to be delivered yet, in order.
    pub fn to_deliver(&self) -> Vec<CaptureFile> {
        self.lock().list.kept().filter(|record| is_queued(record)).map(|record| record.file.clone()).collect()
    }

    /// Whether it holds closed files that nobody else has.
    pub fn has_alone(&self) -> bool {
        let alone = |record: &FileRecord| record.file.state == FileState::Closed && !record.file.is_elsewhere();
        self.lock().list.kept().any(alone)
    }

    /// Files that are to be delivered yet.
    pub fn queued(&self) -> usize {
        self.lock().list.queued().files as usize
    }

    /// How a file's delivery goes. False when it is no longer in the ring.
    pub fn set_delivery(&self, name: &str, delivery: Delivery) -> bool {
        // How far it is, is nothing that a restart must know of.
        let passing = matches!(delivery, Delivery::Sending { .. });
        let there = self.lock().list.set_delivery(name, delivery);
        if !passing {
            self.keeper.changed();
        }
        self.shared.tell();
        there
    }

    /// A file's checksum is known.
    pub fn set_checksum(&self, name: &str, sha256: String) {
        self.change(|inner| inner.list.set_checksum(name, sha256));
    }

    /// A laptop has a file, also one that had to go here meanwhile.
    pub fn set_fetched(&self, name: &str) {
        self.change(|inner| inner.list.set_fetched(name));
    }

    /// Removes a closed file because somebody asked, which is no loss. Waits for the disk.
    pub fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let _turn = self.shared.room.lock().unwrap_or_else(PoisonError::into_inner);
        let found = {
            let inner = self.lock();
            let record = inner.list.find(name).and_then(|at| inner.list.get(at));
            record
                .filter(|record| record.place == FilePlace::Kept && record.file.state == FileState::Closed)
                .map(|record| record.file.sequence)
        };
        let Some(sequence) = found else { return Ok(false) };
        self.discard(sequence, Going::Asked)?;
        Ok(true)
    }

    /// Files go to a bucket with the agent's own credentials, also after a restart; `None` is no longer.
    pub fn remember_sink(&self, sink: Option<OwnSink>) {
        self.change(|inner| inner.list.head.sink = sink);
    }

    /// The agent reports by itself, also after a restart; `None` is no longer.
    pub fn remember_reports(&self, plan: Option<ReportPlan>) {
        self.change(|inner| inner.list.head.reports = plan);
    }

    /// A change that a restarted agent must know of.
    fn change(&self, change: impl FnOnce(&mut Inner)) {
        {
            let mut inner = self.lock();
            change(&mut inner);
            inner.list.head.next_sequence = self.shared.sequence.peek();
            let freezes = &inner.list.head.freezes;
            self.shared.freezes.send_if_modified(|known| {
                let other = known != freezes;
                if other {
                    known.clone_from(freezes);
                }
                other
            });
        }
        self.keeper.changed();
        self.shared.tell();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change leaves the list whole, even one whose holder panicked.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn list(&self) -> RingList {
        let snapshot = self.lock().list.snapshot();
        snapshot.listed()
    }

    fn bounds(&self, inner: &Inner) -> Bounds {
        let free = self.free.load(Ordering::Relaxed);
        let held = inner.list.used() - inner.list.reserved;
        let system = (free.saturating_add(held) / 5).saturating_mul(4);
        let total = if free == u64::MAX { inner.volume } else { inner.volume.min(system) };
        Bounds { total, capture: inner.bound }
    }

    /// Asks the disk, so not for the capture thread or the hub.
    fn look_at_the_volume(&self) {
        let free = self.store.available().unwrap_or(u64::MAX);
        self.free.store(free, Ordering::Relaxed);
    }

    /// False when it could not be written.
    fn write_list(&self) -> bool {
        self.look_at_the_volume();
        let written = self.store.write_list(&self.list());
        let mut inner = self.lock();
        let before = std::mem::replace(&mut inner.unwritten, written.is_err());
        if let (Err(error), false) = (&written, before) {
            let message = chain(error);
            inner.list.say(format!("cannot save the file index; a restart would forget the newest files: {message}"));
            drop(inner);
            self.tell();
        }
        written.is_ok()
    }
}

#[cfg(test)]
pub(crate) mod tests;
