//! What another interface of a node has shown already: the same thing on its way through.
//!
//! Owns what was shown lately and where, in bounded memory, for all analyses of a node together. What is shown is known by
//! numbers that no translation of addresses changes, as that with which a connection begins. Where two have the same
//! place, the later one is known.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ahash::RandomState;

/// What became of an attempt, or a question, is known: it was answered, or decided upon. Its time is that of the attempt,
/// whenever that is.
pub(crate) const KNOWN: u8 = u8::MAX - 2;

/// So much is known at once.
const SLOTS: usize = 1 << 15;
/// A packet passes all interfaces of its node within so many steps of time, of 2^24 ns each: about a second.
const SOON: u64 = 60;
const STEP_BITS: u32 = 24;
/// What a slot holds: a part of a hash, the interface, the time in steps, each below the one before.
const HASH_BITS: u32 = 28;
const TIME_BITS: u32 = 20;

/// What interfaces of a node have shown lately. Clones share it.
#[derive(Clone)]
pub struct Echoes {
    slots: Arc<[AtomicU64]>,
    hasher: RandomState,
}

impl Echoes {
    /// Nothing was shown. Whoever knows the seed can make packets that are taken for each other.
    pub fn new(seed: usize) -> Self {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { slots, hasher: RandomState::with_seed(seed) }
    }

    /// Another interface has shown this at about that moment; otherwise it is known from now on that this one has.
    pub(crate) fn is_echo(&self, what: impl Hash, interface: u16, at: i64) -> bool {
        let hash = self.hasher.hash_one(what);
        let slot = &self.slots[hash as usize % SLOTS];
        let time = (at >> STEP_BITS) as u64 & ((1 << TIME_BITS) - 1);
        let key = hash >> (64 - HASH_BITS);
        // Two threads that look at once make two of one thing.
        let known = slot.load(Ordering::Relaxed);
        let (known_key, known_at) = (known >> (64 - HASH_BITS), known & ((1 << TIME_BITS) - 1));
        let apart = known_at.wrapping_sub(time) & ((1 << TIME_BITS) - 1);
        let soon = apart <= SOON || (1 << TIME_BITS) - apart <= SOON;
        if known != 0 && known_key == key && (known >> TIME_BITS) as u16 != interface && soon {
            return true;
        }
        slot.store(key << (64 - HASH_BITS) | u64::from(interface) << TIME_BITS | time, Ordering::Relaxed);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_is_an_echo_elsewhere_and_soon() {
        const SECOND: i64 = 1_000_000_000;
        let echoes = Echoes::new(7);
        let other = echoes.clone();
        for at in [i64::MIN, 0, 1_700_000_000 * SECOND] {
            assert!(!echoes.is_echo(("connection", 5), 1, at), "the first");
            assert!(!echoes.is_echo(("connection", 5), 1, at), "the same interface has it again");
            assert!(other.is_echo(("connection", 5), 2, at.saturating_add(SECOND / 2)), "the other one's");
            assert!(other.is_echo(("connection", 5), 3, at.saturating_sub(SECOND / 2)), "in whatever order");
            assert!(!other.is_echo(("connection", 6), 2, at) && !other.is_echo(("question", 5), 2, at));
            assert!(!other.is_echo(("connection", 5), 2, at.wrapping_add(4 * SECOND)), "later it is another");
        }
    }
}
