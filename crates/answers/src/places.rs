//! Places where packets are seen: which there are, by number.
//!
//! Owns that a place that is not watched any more makes room for another one, and how many have found none.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    Face, Told,
    paths::{SILENT, Tap, TapId},
};

/// Places that are known.
const MOST: usize = 30_000;
/// Of a place of which nothing was told for so long, in milliseconds, nothing is known any more.
const FORGOTTEN: u64 = 180_000;
/// So long, in milliseconds, when packets were lost is remembered.
const LOST: u64 = 120_000;
/// A second that begins so much later, in milliseconds, than the one before has ended leaves something out.
const GAP: u64 = 1_500;
/// After this time, in milliseconds, it is looked again who makes room.
const AGAIN: u64 = 5_000;

/// All places.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    taps: Vec<Tap>,
    by_name: FxHashMap<(String, String), TapId>,
    /// Those that others may have, and when it was looked for such.
    free: Vec<TapId>,
    looked: u64,
    /// By node: when it was told last, and how many of its places had no room.
    unplaced: BTreeMap<String, (u64, usize)>,
}

impl Places {
    /// All places, by their numbers.
    pub(crate) fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// The places of a node's interfaces, and those that are others from now on.
    pub(crate) fn of(&mut self, told: &Told) -> (Vec<Option<TapId>>, FxHashSet<TapId>) {
        let mut gone = FxHashSet::default();
        let places: Vec<Option<TapId>> = told.faces.iter().map(|face| self.place(told, face, &mut gone)).collect();
        let unplaced = places.iter().filter(|place| place.is_none()).count();
        if unplaced > 0 && self.unplaced.len() < MOST {
            self.unplaced.insert(told.node.clone(), (told.at, unplaced));
        } else {
            self.unplaced.remove(&told.node);
        }
        (places, gone)
    }

    fn place(&mut self, told: &Told, face: &Face, gone: &mut FxHashSet<TapId>) -> Option<TapId> {
        let begun = told.at.saturating_sub(told.millis);
        let key = (told.node.clone(), face.name.clone());
        let id = if let Some(id) = self.by_name.get(&key) {
            *id
        } else {
            let id = self.room(told.at, gone)?;
            let (node, interface) = key.clone();
            self.taps[usize::from(id.0)] =
                Tap { node, interface, role: face.role, first: begun, last: told.at, ..Tap::default() };
            self.by_name.insert(key, id);
            id
        };
        let tap = &mut self.taps[usize::from(id.0)];
        if begun.saturating_sub(tap.last) > SILENT {
            tap.first = begun;
        } else if begun.saturating_sub(tap.last) > GAP {
            // What was not told of is not known.
            tap.lost.extend([tap.last, begun]);
        }
        tap.last = tap.last.max(told.at);
        tap.role = face.role;
        tap.ended = if face.ended { tap.ended.or(Some(begun)) } else { None };
        if face.lost {
            tap.lost.push_back(told.at);
        }
        while tap.lost.front().is_some_and(|lost| lost.saturating_add(LOST) < told.at) {
            tap.lost.pop_front();
        }
        Some(id)
    }

    /// A number that is nobody's.
    fn room(&mut self, now: u64, gone: &mut FxHashSet<TapId>) -> Option<TapId> {
        if self.taps.len() < MOST {
            let id = TapId(u16::try_from(self.taps.len()).ok()?);
            self.taps.push(Tap::default());
            return Some(id);
        }
        if self.free.is_empty() && now.abs_diff(self.looked) >= AGAIN {
            self.looked = now;
            let Self { taps, by_name, free, .. } = self;
            by_name.retain(|_, id| {
                let stays = taps[usize::from(id.0)].last.saturating_add(FORGOTTEN) >= now;
                if !stays {
                    free.push(*id);
                    gone.insert(*id);
                }
                stays
            });
        }
        self.free.pop()
    }

    /// How many places had no room just before that moment.
    pub(crate) fn unplaced(&self, now: u64) -> usize {
        let told = self.unplaced.values().filter(|(at, _)| at.saturating_add(SILENT) >= now);
        told.map(|(_, count)| count).sum()
    }

    /// It is that moment now, and what was told before is of another time.
    pub(crate) fn set_back(&mut self, now: u64) {
        for tap in &mut self.taps {
            (tap.first, tap.last) = (tap.first.min(now), tap.last.min(now));
            tap.lost.clear();
        }
        self.unplaced.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(node: &str, at: u64, count: usize) -> Told {
        let faces = (0..count).map(|number| Face { name: format!("veth{number}"), ..Face::default() });
        Told { node: node.to_owned(), at, millis: 1000, faces: faces.collect(), ..Told::default() }
    }

    #[test]
    fn places_that_are_watched_no_more_make_room_and_what_has_none_is_counted() {
        let mut places = Places::default();
        let (first, gone) = places.of(&told("a", 1_000_000, MOST));
        assert!(first.iter().all(Option::is_some) && gone.is_empty());
        let (none, gone) = places.of(&told("b", 1_001_000, 10));
        assert!(none.iter().all(Option::is_none) && gone.is_empty());
        assert_eq!((places.unplaced(1_001_000), places.unplaced(1_010_000)), (10, 0));
        let late = 1_001_000 + FORGOTTEN;
        let (some, gone) = places.of(&told("b", late, 10));
        assert_eq!((gone.len(), places.unplaced(late), places.taps().len()), (MOST, 0, MOST));
        let tap = |place: Option<TapId>| &places.taps()[usize::from(place.expect("a place").0)];
        let names: Vec<String> = some.into_iter().map(|place| tap(place).text()).collect();
        assert_eq!((names[0].as_str(), names[9].as_str()), ("veth0 of b", "veth9 of b"));
        assert!(places.taps().iter().filter(|tap| tap.is_watched(late)).count() == 10);
    }
}
