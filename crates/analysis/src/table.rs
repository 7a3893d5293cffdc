//! A table of bounded size in which whatever matters least makes room.
//!
//! Owns where things are. It grows with what is in it up to its bound, and looks at a few entries at most to find one
//! that may go.

use std::{hash::Hash, num::NonZeroU64};

use ahash::RandomState;

/// So many entries are looked at to find the one that goes.
const LOOKED_AT: usize = 8;

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    hash: u32,
    /// Others had the same place before.
    stamp: u32,
}

/// A place in a table, and whose it is: in one word, also where there may be none, as one is passed along for each
/// packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(NonZeroU64);

impl Place {
    /// From the highest bit: the index, which has less than 31 of them, the stamp, and a one.
    #[inline]
    fn new(index: u32, stamp: u32) -> Self {
        Self(NonZeroU64::MIN | u64::from(index) << 33 | u64::from(stamp) << 1)
    }

    #[inline]
    fn index(self) -> usize {
        (self.0.get() >> 33) as usize
    }

    #[inline]
    fn stamp(self) -> u32 {
        (self.0.get() >> 1) as u32
    }
}

/// Keys and values, so many at most.
pub struct Table<K, V> {
    /// One more than the index of the entry, where there is one; never more than half of them are.
    slots: Vec<u32>,
    entries: Vec<Entry<K, V>>,
    most: usize,
    hasher: RandomState,
    /// The entry that was found or put in last: packets come in runs.
    latest: u32,
    /// Where the next one is looked for that may go.
    hand: usize,
}

impl<K: Hash + Eq + Copy, V> Table<K, V> {
    /// An empty one. Whoever knows the seed can make keys that are slow to find.
    pub fn new(most: usize, seed: usize) -> Self {
        let hasher = RandomState::with_seed(seed);
        Self { slots: vec![0; 64], entries: Vec::new(), most: most.clamp(1, 1 << 24), hasher, latest: 0, hand: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// All that is in it.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|entry| &entry.value)
    }

    /// All by which it is found.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.iter().map(|entry| &entry.key)
    }

    /// No other finds room without one that goes.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.most
    }

    fn hash(&self, key: &K) -> u32 {
        let hash = self.hasher.hash_one(key);
        (hash ^ hash >> 32) as u32
    }

    /// Where a key is.
    #[inline]
    pub fn find(&mut self, key: &K) -> Option<Place> {
        match self.entries.get(self.latest as usize) {
            Some(entry) if entry.key == *key => Some(Place::new(self.latest, entry.stamp)),
            _ => self.look_up(key),
        }
    }

    #[inline(never)]
    fn look_up(&mut self, key: &K) -> Option<Place> {
        let hash = self.hash(key);
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let index = self.slots[slot].checked_sub(1)?;
            let entry = &self.entries[index as usize];
            if entry.hash == hash && entry.key == *key {
                self.latest = index;
                return Some(Place::new(index, entry.stamp));
            }
            slot = (slot + 1) & mask;
        }
    }

    /// What is there, if it is still the same.
    #[inline]
    pub fn get_mut(&mut self, place: Place) -> Option<(&K, &mut V)> {
        let entry = self.entries.get_mut(place.index())?;
        (entry.stamp == place.stamp()).then_some((&entry.key, &mut entry.value))
    }

    /// Puts a new key in. Where there is no room, of some the one with the least worth goes, and is given back.
    pub fn insert(&mut self, key: K, value: V, worth: impl Fn(&V) -> i64) -> (Place, Option<(K, V)>) {
        let hash = self.hash(&key);
        if self.entries.len() < self.most {
            let index = self.entries.len();
            self.entries.push(Entry { key, value, hash, stamp: 0 });
            self.latest = index as u32;
            if self.entries.len() * 2 > self.slots.len() {
                self.grow();
            } else {
                self.occupy(hash, index as u32);
            }
            return (Place::new(index as u32, 0), None);
        }
        let index = self.least(worth);
        self.vacate(index);
        let stamp = self.entries[index].stamp.wrapping_add(1);
        let gone = std::mem::replace(&mut self.entries[index], Entry { key, value, hash, stamp });
        self.occupy(hash, index as u32);
        self.latest = index as u32;
        (Place::new(index as u32, stamp), Some((gone.key, gone.value)))
    }

    /// All of them, which are not in it any more.
    pub fn take_all(&mut self) -> impl Iterator<Item = (K, V)> + use<K, V> {
        self.slots.fill(0);
        std::mem::take(&mut self.entries).into_iter().map(|Entry { key, value, .. }| (key, value))
    }

    fn least(&mut self, worth: impl Fn(&V) -> i64) -> usize {
        let looked = LOOKED_AT.min(self.entries.len());
        let from = self.hand;
        self.hand = (self.hand + looked) % self.entries.len();
        let some = (0..looked).map(|step| (from + step) % self.entries.len());
        some.min_by_key(|&index| worth(&self.entries[index].value)).unwrap_or(0)
    }

    fn occupy(&mut self, hash: u32, index: u32) {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = index + 1;
    }

    /// Takes an entry out of the slots; those behind it move up.
    fn vacate(&mut self, index: usize) {
        let mask = self.slots.len() - 1;
        let mut free = self.entries[index].hash as usize & mask;
        while self.slots[free] as usize != index + 1 {
            free = (free + 1) & mask;
        }
        let mut next = (free + 1) & mask;
        while let Some(other) = self.slots[next].checked_sub(1) {
            let wanted = self.entries[other as usize].hash as usize & mask;
            if (next.wrapping_sub(wanted) & mask) >= (next.wrapping_sub(free) & mask) {
                self.slots[free] = self.slots[next];
                free = next;
            }
            next = (next + 1) & mask;
        }
        self.slots[free] = 0;
    }

    fn grow(&mut self) {
        self.slots = vec![0; self.slots.len() * 2];
        for index in 0..self.entries.len() {
            self.occupy(self.entries[index].hash, index as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_that_are_chosen_to_meet_in_a_hash_of_sums_do_not() {
        // Whoever sends packets chooses all 128 bits. In a sum of products these have one value, whatever it began with.
        const FACTOR: u64 = 0xF135_7AEA_2E62_A9C5;
        let table: Table<u128, ()> = Table::new(1, 7);
        let chosen =
            (0..1000u64).map(|low| u128::from(low.wrapping_mul(FACTOR).wrapping_neg()) << 64 | u128::from(low));
        let hashes: HashSet<u32> = chosen.map(|key| table.hash(&key)).collect();
        assert!(hashes.len() > 990, "{} of 1000", hashes.len());
    }

    #[test]
    fn a_place_is_what_it_was_made_of() {
        for (index, stamp) in [(0, 0), (0, u32::MAX), (1 << 24, 0), (1 << 24, u32::MAX), (77, 5)] {
            let place = Place::new(index, stamp);
            assert_eq!((place.index(), place.stamp()), (index as usize, stamp));
        }
        assert_eq!(size_of::<Option<Place>>(), 8);
    }

    proptest! {
        #[test]
        fn what_is_in_it_is_found_and_nothing_else(keys in proptest::collection::vec(0u16..300, 0..600), most in 1usize..100) {
            let mut table: Table<u16, usize> = Table::new(most, 7);
            let mut model: HashMap<u16, usize> = HashMap::new();
            for (at, key) in keys.into_iter().enumerate() {
                if let Some(place) = table.find(&key) {
                    let (found, value) = table.get_mut(place).expect("there");
                    prop_assert_eq!((*found, *value), (key, model[&key]));
                    continue;
                }
                prop_assert!(!model.contains_key(&key));
                let (place, gone) = table.insert(key, at, |value| *value as i64);
                if let Some((gone, value)) = gone {
                    prop_assert_eq!(model.remove(&gone), Some(value));
                }
                model.insert(key, at);
                prop_assert_eq!(table.get_mut(place), Some((&key, &mut { at })));
                prop_assert!(table.len() <= most && table.len() == model.len());
            }
            for key in 0..300 {
                prop_assert_eq!(table.find(&key).is_some(), model.contains_key(&key));
            }
        }
    }
}
