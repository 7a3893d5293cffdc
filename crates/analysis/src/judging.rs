//! What may be judged at all.
//!
//! Owns how long each interface was listened to, when it lost packets, and where answers to which addresses were seen:
//! one can only be missed where it would have been seen. Of one kind it says nothing of another where a filter may let one
//! pass alone; but who connects goes on after an answer, which is seen wherever the attempt was.

use std::num::NonZeroU64;

use ahash::RandomState;

/// Nothing is judged before an interface was listened to for so long: what was under way is not known.
const BEGINNING: i64 = 2_000_000_000;
/// What was lost was lost within this time.
const AROUND_LOSS: i64 = 1_000_000_000;
/// A packet this much earlier than the one before it on its interface was stamped by a clock that was set back.
const SET_BACK: i64 = 10_000_000_000;
/// Bits that addresses with answers leave; with a few thousand addresses one in a hundred is wrongly taken for heard of.
const BITS: usize = 1 << 20;
/// Those of addresses to which anything else went: whoever sends to very many makes only these be forgotten.
const BITS_OF_OTHERS: usize = 1 << 16;

/// What was not judged, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unjudged {
    /// In the first two seconds.
    pub at_the_beginning: u64,
    /// Attempts and questions to DNS, each once on its node, of which the other direction was captured nowhere.
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
    /// Connections that pass from one address on the link to another.
    Link,
}

/// Who waits for an answer, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) interface: u16,
    pub(crate) kind: Kind,
    pub(crate) address: u128,
    /// The way that an answer takes on the link, where that is known.
    pub(crate) link: Option<NonZeroU64>,
}

#[derive(Debug, Clone, Copy)]
struct Tap {
    /// No other has it, nor has one that had the interface's number before.
    id: u32,
    began: i64,
    last: i64,
    lost: Option<i64>,
    /// A bit each kind of which answers were seen to pass.
    passes: u8,
}

/// Hashes that were put in lately. Others are taken for them now and then.
struct Filter {
    now: Box<[u64]>,
    /// Those of the time before.
    before: Box<[u64]>,
    /// Bits that are set in `now`.
    set: usize,
}

impl Filter {
    fn new(bits: usize) -> Self {
        let none = || vec![0; bits / 64].into();
        Self { now: none(), before: none(), set: 0 }
    }

    fn bits(&self, hash: u64) -> [usize; 2] {
        let bits = self.now.len() * 64;
        [hash as usize % bits, (hash >> 32) as usize % bits]
    }

    fn put(&mut self, hash: u64) {
        for bit in self.bits(hash) {
            let (word, mask) = (&mut self.now[bit / 64], 1 << (bit % 64));
            self.set += usize::from(*word & mask == 0);
            *word |= mask;
        }
        // An analysis may go on for days.
        if self.set >= self.now.len() * 4 {
            self.set = 0;
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.fill(0);
        }
    }

    fn has(&self, hash: u64) -> bool {
        let bits = self.bits(hash);
        let are_in = |all: &[u64]| bits.iter().all(|bit| all[bit / 64] >> (bit % 64) & 1 == 1);
        are_in(&self.now) || are_in(&self.before)
    }
}

/// What is known of where and when was listened.
pub(crate) struct Judging {
    taps: Vec<Option<Tap>>,
    /// Taps that there were so far.
    begun: u32,
    /// Addresses to which answers went.
    heard: Filter,
    /// Addresses to which anything else went, and the last of them.
    reached: Filter,
    last_reached: (u16, u128),
    hasher: RandomState,
    pub(crate) unjudged: Unjudged,
}

impl Judging {
    pub(crate) fn new(seed: usize) -> Self {
        let hasher = RandomState::with_seed(seed);
        Self {
            taps: Vec::new(),
            begun: 0,
            heard: Filter::new(BITS),
            reached: Filter::new(BITS_OF_OTHERS),
            last_reached: (0, 0),
            hasher,
            unjudged: Unjudged::default(),
        }
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
        self.taps[index] = Some(Tap { id: self.begun, began: at, last: at, lost: None, passes: 0 });
        self.last_reached = (0, 0);
    }

    /// All packets of an interface come: no filter lets one kind pass alone.
    pub(crate) fn is_whole(&mut self, interface: u16) {
        if let Some(Some(tap)) = self.taps.get_mut(usize::from(interface)) {
            tap.passes = u8::MAX;
        }
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

    fn tap(&self, interface: u16) -> Option<&Tap> {
        self.taps.get(usize::from(interface))?.as_ref()
    }

    fn hash(&self, interface: u16, kind: Option<Kind>, address: u128) -> u64 {
        self.hasher.hash_one((self.tap(interface).map(|tap| tap.id), kind, address))
    }

    /// An answer went to that address, or would have been seen there.
    pub(crate) fn hears(&mut self, interface: u16, kind: Kind, address: u128) {
        self.heard.put(self.hash(interface, Some(kind), address));
        if let Some(Some(tap)) = self.taps.get_mut(usize::from(interface)) {
            tap.passes |= 1 << kind as u8;
        }
    }

    /// Connections are seen in both directions of that way on the link.
    pub(crate) fn hears_on(&mut self, interface: u16, link: NonZeroU64) {
        self.hears(interface, Kind::Link, link.get().into());
    }

    /// Something that is no answer went to that address.
    #[inline]
    pub(crate) fn reaches(&mut self, interface: u16, address: u128) {
        if self.last_reached != (interface, address) {
            self.last_reached = (interface, address);
            self.reached.put(self.hash(interface, None, address));
        }
    }

    /// An answer to whoever waits there would have been seen.
    pub(crate) fn has_heard(&self, &Asker { interface, kind, address, link }: &Asker) -> bool {
        let heard = |kind: Kind, address: u128| self.heard.has(self.hash(interface, Some(kind), address));
        if heard(kind, address) || link.is_some_and(|link| heard(Kind::Link, link.get().into())) {
            return true;
        }
        let passes = self.tap(interface).is_some_and(|tap| tap.passes >> kind as u8 & 1 == 1);
        let is_reached = || {
            self.reached.has(self.hash(interface, None, address))
                || [Kind::Tcp, Kind::Dns, Kind::Neighbour].into_iter().any(|kind| heard(kind, address))
        };
        (kind == Kind::Tcp || passes) && is_reached()
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
        let asker = |address: u128| Asker { interface: 1, kind: Kind::Tcp, address, link: None };
        assert!((980_000..1_000_000).all(|address| judging.has_heard(&asker(address))));
        let wrong =
            |judging: &Judging| (2_000_000..2_010_000).filter(|&address| judging.has_heard(&asker(address))).count();
        assert!(wrong(&judging) < 500, "{} of 10,000", wrong(&judging));
        (0..1_000_000).for_each(|address| judging.reaches(1, address));
        assert!((999_000..1_000_000).all(|address| judging.has_heard(&asker(address))));
        assert!(wrong(&judging) < 1000, "{} of 10,000", wrong(&judging));
    }
}
