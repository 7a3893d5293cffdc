//! Freezes: spans of a flight recorder's time that are to be saved, and the pieces that they need.
//!
//! Owns which freezes wait. What is copied for one, and when, is the capture's to say.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use nodewatch_protocol::{BootSpan, FileRecord, FreezeCause, PendingFreeze};

use super::{Ring, list::Ending, store::StoreError};

impl Ring {
    /// A part of the flight recorder's time is to be saved, as was asked. `None` when too many wait already.
    pub fn add_freeze(&self, before: Duration, after: Duration) -> Option<PendingFreeze> {
        self.add_freeze_of(None, before, after)
    }

    /// The same, for that reason where nobody has asked.
    pub fn add_freeze_of(
        &self,
        cause: Option<FreezeCause>,
        before: Duration,
        after: Duration,
    ) -> Option<PendingFreeze> {
        let clock = &self.shared.clock;
        let (boot, wall) = (clock.boot(), clock.unix_millis());
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let mut freeze = PendingFreeze {
            id: self.shared.sequence.take(),
            capture: 0,
            from: wall.saturating_sub(millis(before)),
            to: wall.saturating_add(millis(after)),
            span: BootSpan { from: (boot - before).as_millis(), to: (boot + after).as_millis() },
            cause,
        };
        let mut added = false;
        self.change(|inner| {
            freeze.capture = inner.list.running().map_or(0, |capture| capture.since);
            added = inner.list.add_freeze(freeze);
        });
        added.then_some(freeze)
    }

    /// When the capture of a freeze began, by the boot-time clock; `None` where it goes on with an earlier one, whose
    /// clock may be another.
    pub fn freeze_capture_began(&self, freeze: &PendingFreeze) -> Option<u64> {
        let inner = self.lock();
        let capture = inner.list.head.captures.iter().find(|one| one.since == freeze.capture)?;
        capture.resumes.is_none().then_some(capture.boot)
    }

    /// It was saved, or cannot be.
    pub fn drop_freeze(&self, id: u64) {
        self.change(|inner| inner.list.drop_freeze(id));
    }

    /// A saved freeze has got its last byte, and is no longer waited for.
    pub fn close_freeze(&self, id: u64, name: &str, ending: &Ending) -> Result<(), StoreError> {
        let mut kept = true;
        self.change(|inner| {
            kept = inner.list.close(name, ending);
            inner.list.drop_freeze(id);
        });
        if kept { Ok(()) } else { self.shared.store.remove(name) }
    }

    /// Spans that are to be saved. Waits for nothing.
    pub fn freezes(&self) -> Vec<PendingFreeze> {
        self.shared.freezes.borrow().clone()
    }

    /// The turn to save freezes of a capture that is over, so that none is saved twice. May be waited for.
    pub fn saving(&self) -> MutexGuard<'_, ()> {
        self.shared.saving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The recorder's closed pieces that have to do with that freeze, in order.
    pub fn pieces(&self, freeze: &PendingFreeze) -> Vec<FileRecord> {
        self.lock().list.pieces(freeze)
    }

    /// A freeze has copied its pieces up to that one, which may go now.
    pub fn copied(&self, freeze: u64, piece: u64) {
        self.lock().list.copied(freeze, piece);
    }
}
