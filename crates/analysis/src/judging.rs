//! What may be judged at all.
//!
//! Owns how long each interface was listened to, when it lost packets, and where answers to which addresses were seen:
//! one can only be missed where it would have been seen, and that of one kind says nothing of another, as a filter may
//! let one pass alone.

use ahash::RandomState;

/// Nothing is judged before an interface was listened to for so long: what was under way is not known.
const BEGINNING: i64 = 2_000_000_000;
/// What was lost was lost within this time.
const AROUND_LOSS: i64 = 1_000_000_000;
/// A packet this much earlier than the one before it on its interface was stamped by a clock that was set back.
const SET_BACK: i64 = 10_000_000_000;
/// Bits that addresses leave; with a few thousand addresses one in a hundred is wrongly taken for heard of.
const BITS: usize = 1 << 19;
/// With so many of them set, those of the time before are forgotten: an analysis may go on for days.
const FULL: usize = BITS / 8;

/// What was not judged, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unjudged {
    /// In the first two seconds.
    pub at_the_beginning: u64,
    /// The other direction was not captured.
    pub one_way: u64,
    /// The interface had lost packets.
    pub lost_packets: u64,
    /// The capture ended before it was decided.
    pub undecided: u64,
}

impl Unjudged {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.at_the_beginning + self.one_way + self.lost_packets + self.undecided
    }
}

/// What is asked and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Connections of TCP.
    Tcp,
    /// Questions to DNS.
    Dns,
    /// Questions for hardware addresses.
    Neighbour,
}

#[derive(Debug, Clone, Copy)]
struct Tap {
    /// No other has it, nor has one that had the interface's number before.
    id: u32,
    began: i64,
    last: i64,
    lost: Option<i64>,
}

/// What is known of where and when was listened.
pub(crate) struct Judging {
    taps: Vec<Option<Tap>>,
    /// Taps that there were so far.
    begun: u32,
    heard: Box<[u64]>,
    /// The addresses of the time before.
    before: Box<[u64]>,
    /// Bits that are set in `heard`.
    set: usize,
    hasher: RandomState,
    pub(crate) unjudged: Unjudged,
}

impl Judging {
    pub(crate) fn new(seed: usize) -> Self {
        let hasher = RandomState::with_seed(seed);
        let none = || vec![0; BITS / 64].into();
        let taps = Vec::new();
        Self { taps, begun: 0, heard: none(), before: none(), set: 0, hasher, unjudged: Unjudged::default() }
    }

    /// An interface's packets come.
    #[inline]
    pub(crate) fn listens(&mut self, interface: u16, at: i64) {
        match self.taps.get_mut(usize::from(interface)) {
            Some(Some(tap)) if tap.last.saturating_sub(at) < SET_BACK => tap.last = at,
            // Of a clock that was set back it is another one's time.
            _ => self.begin(interface.into(), at),
        }
    }

    #[cold]
    fn begin(&mut self, index: usize, at: i64) {
        if self.taps.len() <= index {
            self.taps.resize(index + 1, None);
        }
        self.begun = self.begun.wrapping_add(1);
        self.taps[index] = Some(Tap { id: self.begun, began: at, last: at, lost: None });
    }

    /// Of an interface nothing is known any more.
    pub(crate) fn forgets(&mut self, interface: u16) {
        if let Some(tap) = self.taps.get_mut(usize::from(interface)) {
            *tap = None;
        }
    }

    /// An interface has lost packets before that moment.
    pub(crate) fn loses(&mut self, interface: u16, at: i64) {
        self.listens(interface, at);
        if let Some(Some(tap)) = self.taps.get_mut(usize::from(interface)) {
            tap.lost = Some(at);
        }
    }

    /// The last packet that an interface has seen.
    pub(crate) fn last(&self, interface: u16) -> Option<i64> {
        self.taps.get(usize::from(interface)).copied().flatten().map(|tap| tap.last)
    }

    /// What was seen at that moment may be judged.
    pub(crate) fn may(&mut self, interface: u16, at: i64) -> bool {
        let Some(tap) = self.taps.get(usize::from(interface)).copied().flatten() else { return false };
        if at.saturating_sub(tap.began) < BEGINNING {
            self.unjudged.at_the_beginning += 1;
            return false;
        }
        // Also what came before a loss: its answer may have been lost.
        let lost = tap.lost.is_some_and(|lost| at < lost.saturating_add(AROUND_LOSS));
        self.unjudged.lost_packets += u64::from(lost);
        !lost
    }

    /// The interface has lost packets in the last second before that moment.
    pub(crate) fn has_lost(&self, interface: u16, at: i64) -> bool {
        let tap = self.taps.get(usize::from(interface)).copied().flatten();
        tap.and_then(|tap| tap.lost).is_some_and(|lost| at.saturating_sub(lost) < AROUND_LOSS)
    }

    fn bits(&self, interface: u16, kind: Kind, address: u128) -> [usize; 2] {
        let tap = self.taps.get(usize::from(interface)).copied().flatten();
        let hash = self.hasher.hash_one((tap.map(|tap| tap.id), kind, address));
        [hash as usize % BITS, (hash >> 32) as usize % BITS]
    }

    /// An answer went to that address, or would have been seen there.
    pub(crate) fn hears(&mut self, interface: u16, kind: Kind, address: u128) {
        for bit in self.bits(interface, kind, address) {
            let (word, mask) = (&mut self.heard[bit / 64], 1 << (bit % 64));
            self.set += usize::from(*word & mask == 0);
            *word |= mask;
        }
        if self.set >= FULL {
            self.set = 0;
            std::mem::swap(&mut self.heard, &mut self.before);
            self.heard.fill(0);
        }
    }

    /// Answers of that kind to that address are seen there.
    pub(crate) fn has_heard(&mut self, interface: u16, kind: Kind, address: u128) -> bool {
        let bits = self.bits(interface, kind, address);
        let are_in = |all: &[u64]| bits.iter().all(|bit| all[bit / 64] >> (bit % 64) & 1 == 1);
        let heard = are_in(&self.heard) || are_in(&self.before);
        self.unjudged.one_way += u64::from(!heard);
        heard
    }
}

/// That moment is so far ahead that the clock was set back since.
pub(crate) fn is_to_come(asked: i64, now: i64) -> bool {
    asked.saturating_sub(now) > SET_BACK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_addresses_the_latest_are_known_and_others_are_not_taken_for_them() {
        let mut judging = Judging::new(7);
        for address in 0..1_000_000 {
            judging.hears(1, Kind::Tcp, address);
        }
        assert!((980_000..1_000_000).all(|address| judging.has_heard(1, Kind::Tcp, address)));
        let wrong = (2_000_000..2_010_000).filter(|&address| judging.has_heard(1, Kind::Tcp, address)).count();
        assert!(wrong < 500, "{wrong} of 10,000");
    }
}
