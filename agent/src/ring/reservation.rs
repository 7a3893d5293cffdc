//! Room in the ring: made and kept before a byte is written.
//!
//! Owns the removal of files that make room. Which of them goes first is for `room` to say.

use std::{collections::BTreeSet, sync::PoisonError};

use super::{
    Inner, Ring,
    list::Going,
    room::{self, Room},
    store::StoreError,
};
use crate::{clock::Boot, error::chain};

impl Ring {
    /// Makes room for so many bytes and keeps it until they are written. What goes for it, and nobody else has, is
    /// counted and said.
    pub fn make_room(&self, bytes: u64) -> Result<Reservation, StoreError> {
        // Each in its turn: what one has made room for is not there for another.
        let _turn = self.shared.room.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.look_at_the_volume();
        let mut stuck = BTreeSet::new();
        loop {
            let victim = {
                let mut inner = self.lock();
                let bounds = self.shared.bounds(&inner);
                match room::room(&inner.list, bounds, bytes, &stuck) {
                    Room::Fits => return Ok(self.reserve(&mut inner, bytes)),
                    Room::Full => {
                        return Err(StoreError::Full { bytes, limit: room::limit(&inner.list, bounds) });
                    }
                    Room::After(victim) => victim,
                }
            };
            // One that cannot go does not end the capture as long as another can.
            if let Err(error) = self.discard(victim, Going::Full) {
                self.lock().cannot_go(victim, &chain(&error));
                stuck.insert(victim);
            }
        }
    }

    /// Room that is taken even where there is none, for what must be written: only the disk itself can refuse it.
    pub fn insist_on_room(&self, bytes: u64) -> Result<Reservation, StoreError> {
        match self.make_room(bytes) {
            Err(StoreError::Full { .. }) => Ok(self.reserve(&mut self.lock(), bytes)),
            made => made,
        }
    }

    /// Room for what is needed for a moment, until the value is dropped. Nothing goes for it: `None` when there is
    /// none.
    pub fn reserve_scratch(&self, bytes: u64) -> Option<Reservation> {
        self.shared.look_at_the_volume();
        let mut inner = self.lock();
        let limit = room::limit(&inner.list, self.shared.bounds(&inner));
        (inner.list.used().saturating_add(bytes) <= limit).then(|| self.reserve(&mut inner, bytes))
    }

    fn reserve(&self, inner: &mut Inner, bytes: u64) -> Reservation {
        inner.list.reserved += bytes;
        Reservation { ring: self.clone(), bytes }
    }

    /// Lets the recorder's pieces go that ended before `before`, or are too many together; none that a freeze needs.
    pub fn prune_recorder(&self, before: Boot, bytes: u64) {
        let _turn = self.shared.room.lock().unwrap_or_else(PoisonError::into_inner);
        let old = room::outdated(&self.lock().list, before.as_millis(), bytes);
        for sequence in old {
            // One that cannot go does not keep the others.
            if let Err(error) = self.discard(sequence, Going::Outdated) {
                self.lock().cannot_go(sequence, &chain(&error));
            }
        }
    }

    /// What the running capture's files may take: its bound, the volume's own, and never more than 80 % of what the
    /// file system has left for us. Waits for nothing.
    pub fn limit(&self) -> u64 {
        let inner = self.lock();
        let bounds = self.shared.bounds(&inner);
        bounds.capture.min(bounds.total)
    }

    /// Removes a file; whoever calls this has its turn.
    pub(super) fn discard(&self, sequence: u64, why: Going) -> Result<(), StoreError> {
        let name = self.lock().list.get(sequence).map(|record| record.file.name.clone());
        let Some(name) = name else { return Ok(()) };
        self.shared.store.remove(&name)?;
        self.change(|inner| inner.list.went(sequence, why));
        Ok(())
    }
}

/// Bytes in the ring that nobody else gets, until they are written or this is dropped.
pub struct Reservation {
    ring: Ring,
    bytes: u64,
}

impl Reservation {
    /// So many of them are in that file now, with so many packets. Not a change that a restart must know of.
    pub fn spend(&mut self, name: &str, bytes: u64, packets: u64) {
        {
            let mut inner = self.ring.lock();
            let spent = bytes.min(self.bytes);
            inner.list.reserved -= spent;
            self.bytes -= spent;
            inner.list.appended(name, bytes, packets);
        }
        self.ring.shared.tell();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.ring.lock().list.reserved -= self.bytes;
    }
}
