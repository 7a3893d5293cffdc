//! What may be judged at all.
//!
//! Owns how long each interface was listened to, when it lost packets, and to which addresses packets were seen going:
//! an answer can only be missed where it would have been seen.

use std::hash::BuildHasher;

use rustc_hash::FxSeededState;

/// Nothing is judged before an interface was listened to for so long: what was under way is not known.
const BEGINNING: i64 = 2_000_000_000;
/// What was lost was lost within this time.
const AROUND_LOSS: i64 = 1_000_000_000;
/// Bits that addresses leave; with a few thousand addresses one in a hundred is wrongly taken for heard of.
const BITS: usize = 1 << 19;

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

#[derive(Debug, Clone, Copy)]
struct Tap {
    began: i64,
    last: i64,
    lost: Option<i64>,
}

/// What is known of where and when was listened.
pub(crate) struct Judging {
    taps: Vec<Option<Tap>>,
    heard: Box<[u64]>,
    hasher: FxSeededState,
    pub(crate) unjudged: Unjudged,
}

impl Judging {
    pub(crate) fn new(seed: usize) -> Self {
        let hasher = FxSeededState::with_seed(seed);
        Self { taps: Vec::new(), heard: vec![0; BITS / 64].into(), hasher, unjudged: Unjudged::default() }
    }

    /// An interface's packets come.
    #[inline]
    pub(crate) fn listens(&mut self, interface: u16, at: i64) {
        match self.taps.get_mut(usize::from(interface)) {
            Some(Some(tap)) => tap.last = at,
            _ => self.begin(interface.into(), at),
        }
    }

    #[cold]
    fn begin(&mut self, index: usize, at: i64) {
        if self.taps.len() <= index {
            self.taps.resize(index + 1, None);
        }
        self.taps[index] = Some(Tap { began: at, last: at, lost: None });
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

    fn bits(&self, interface: u16, address: u128) -> [usize; 2] {
        let hash = self.hasher.hash_one((interface, address));
        [hash as usize % BITS, (hash >> 32) as usize % BITS]
    }

    /// A packet went to that address.
    pub(crate) fn hears(&mut self, interface: u16, address: u128) {
        for bit in self.bits(interface, address) {
            self.heard[bit / 64] |= 1 << (bit % 64);
        }
    }

    /// Packets to that address are seen there.
    pub(crate) fn has_heard(&mut self, interface: u16, address: u128) -> bool {
        let heard = self.bits(interface, address).into_iter().all(|bit| self.heard[bit / 64] >> (bit % 64) & 1 == 1);
        self.unjudged.one_way += u64::from(!heard);
        heard
    }
}
