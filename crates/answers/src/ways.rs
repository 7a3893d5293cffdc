//! The places that connections take on their way, and which of these have lately missed some that were answered.
//!
//! Owns what is learned from connections that were answered, in bounded memory. A way is known of the end that it leads to:
//! of one address of a service there are as many as it has backends. To an address that is not translated all ports are on one
//! way, so that one of which nothing was ever answered is known too.

use std::{
    collections::{VecDeque, hash_map::Entry},
    hash::Hash,
    net::IpAddr,
};

use nodewatch_protocol::{Case, Service};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::paths::{Sighting, TapId};

/// Ways that are known: those of 10,000 pairs of pods.
const MOST_WAYS: usize = 40_000;
/// Places of which it is known what has passed there, each by who is asked, and moments of each.
const MOST_PASSED: usize = 8192;
const MOST_MOMENTS: usize = 128;
/// What comes in disorder comes within so many of the latest seconds.
const LATEST: usize = 16;
/// Of other ports of an address a way is believed for so long, in milliseconds: it may move to another node.
const FRESH: u64 = 60_000;
/// What was missed as long before or after, in milliseconds, says nothing.
const AROUND: u64 = 10_000;

type End = (IpAddr, u16);

fn end(case: &Case) -> End {
    (case.destination, case.ports.1)
}

/// The places that connections take, learned from those that were answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ways {
    /// By where it begins, who asks and who is asked, and where that leads to.
    ends: FxHashMap<(TapId, IpAddr, End, End), Vec<TapId>>,
    target: FxHashMap<(TapId, End, End), Vec<TapId>>,
    backend: FxHashMap<End, Vec<TapId>>,
    /// By where it begins, of TCP to addresses that are not translated.
    addresses: FxHashMap<(TapId, IpAddr), Common>,
    /// Something that was asked of these has gone to another address.
    translated: FxHashSet<IpAddr>,
    /// When those that were answered have passed a place on their way, and whether they were seen there.
    passed: Passed<End>,
    /// The same of all ports of an address.
    passed_by_address: Passed<IpAddr>,
}

/// The way of all ports of an address.
#[derive(Debug, Clone)]
struct Common {
    taps: Vec<TapId>,
    /// When it was taken last, and when another one was, in milliseconds.
    taken: u64,
    other: Option<u64>,
}

/// A way, in the order of its places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) taps: &'a [TapId],
    /// It is known of other ports of that address alone.
    pub(crate) by_address: bool,
}

impl Ways {
    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.ends.len() + self.target.len() + self.backend.len() + self.addresses.len()
    }

    /// One that was answered has gone there.
    pub(crate) fn learn(&mut self, way: &[Sighting]) {
        let (Some(first), Some(last)) = (way.first(), way.last()) else { return };
        if self.len() > MOST_WAYS || self.translated.len() > MOST_WAYS {
            (self.ends, self.target, self.backend) = Default::default();
            (self.addresses, self.translated) = Default::default();
        }
        let mut taps: Vec<TapId> = way.iter().map(|sighting| sighting.tap).collect();
        taps.dedup();
        let keep = |known: &mut Vec<TapId>| {
            // A shorter one has perhaps missed some; another one is where they go now.
            if known.len() <= taps.len() || !is_part(&taps, known) {
                known.clone_from(&taps);
            }
        };
        let (asked, backend) = (end(&first.case), end(&last.case));
        keep(self.ends.entry((first.tap, first.case.source, asked, backend)).or_default());
        keep(self.target.entry((first.tap, asked, backend)).or_default());
        keep(self.backend.entry(backend).or_default());
        if asked.0 != backend.0 {
            self.translated.insert(asked.0);
        } else if first.case.service == Service::Tcp && is_plain(way) {
            self.learn_address((first.tap, backend.0), taps, last.heard);
        }
    }

    fn learn_address(&mut self, place: (TapId, IpAddr), taps: Vec<TapId>, now: u64) {
        let known = self.addresses.entry(place);
        let known = known.or_insert_with(|| Common { taps: taps.clone(), taken: now, other: None });
        if is_part(&known.taps, &taps) || !is_fresh(known.taken, now) {
            (known.taps, known.taken) = (taps, now);
        } else if !is_part(&taps, &known.taps) {
            // What of the way was missed is told elsewhere.
            (known.taps, known.taken, known.other) = (taps, now, Some(now));
        }
    }

    /// The way that such a connection takes to the end that it was seen on its way to, in the order of its sightings. Where
    /// it was not translated yet, that may be any.
    pub(crate) fn of(&self, seen: &[Sighting]) -> Option<Way<'_>> {
        let (first, last) = (seen.first()?, seen.last()?);
        let (asked, backend) = (end(&first.case), end(&last.case));
        let of_ends = self.ends.get(&(first.tap, first.case.source, asked, backend));
        let of_target = || self.target.get(&(first.tap, asked, backend));
        let of_backend = || self.backend.get(&backend);
        let goes_past = |way: &&Vec<TapId>| way.contains(&first.tap);
        let of_end = of_ends.or_else(of_target).or_else(of_backend).filter(goes_past);
        if let Some(taps) = of_end {
            return Some(Way { taps, by_address: false });
        }
        self.of_address(first, seen).map(|taps| Way { taps, by_address: true })
    }

    fn of_address(&self, first: &Sighting, seen: &[Sighting]) -> Option<&[TapId]> {
        let address = first.case.destination;
        let may = first.case.service == Service::Tcp && is_plain(seen) && !self.translated.contains(&address);
        // Where two places see the same hops left, either may come first.
        let mut known = seen.iter().filter_map(|it| self.addresses.get(&(it.tap, address)));
        let known = known.next().filter(|_| may)?;
        let now = first.heard;
        (is_fresh(known.taken, now) && !known.other.is_some_and(|at| is_fresh(at, now))).then_some(&known.taps)
    }

    /// Something that was answered was asked of one address, and has answered at the other.
    pub(crate) fn is_translated(&self, asked: IpAddr, backend: IpAddr) -> bool {
        self.target.keys().any(|(_, from, to)| (from.0, to.0) == (asked, backend))
    }

    /// One that was answered has passed all places of its way: which of them should have told of it, and when that was there.
    pub(crate) fn passes(&mut self, seen: &[Sighting], should_tell: impl Fn(TapId) -> Option<u64>) {
        let (Some(first), Some(last)) = (seen.first(), seen.last()) else { return };
        let was_seen = |tap: TapId| seen.iter().any(|it| it.tap == tap);
        for tap in self.of(seen).map(|way| way.taps.to_vec()).unwrap_or_default() {
            if let Some(moment) = should_tell(tap) {
                self.passed.put((tap, end(&last.case)), (moment, was_seen(tap)));
            }
        }
        let way = self.of_address(first, seen).map(<[TapId]>::to_vec).unwrap_or_default();
        for tap in way.into_iter().filter(|tap| !was_seen(*tap)) {
            if let Some(moment) = should_tell(tap) {
                self.passed_by_address.put((tap, last.case.destination), (moment, false));
            }
        }
    }

    /// Of those on that way that were answered just before that moment, or just after, the place has missed one.
    pub(crate) fn is_blind(&self, way: Way<'_>, tap: TapId, last: &Case, moment: u64) -> bool {
        if way.by_address {
            self.passed_by_address.has_missed_any((tap, last.destination), moment)
        } else {
            self.passed.has_missed((tap, end(last)), moment)
        }
    }

    /// What was missed before that is forgotten, where there is nothing newer.
    pub(crate) fn forget_old(&mut self, old: u64) {
        self.passed.forget_old(old);
        self.passed_by_address.forget_old(old);
    }

    /// These places are others from now on.
    pub(crate) fn forget(&mut self, gone: &FxHashSet<TapId>) {
        let stays = |way: &Vec<TapId>| !way.iter().any(|tap| gone.contains(tap));
        self.ends.retain(|_, way| stays(way));
        self.target.retain(|_, way| stays(way));
        self.backend.retain(|_, way| stays(way));
        self.addresses.retain(|_, way| stays(&way.taps));
        self.passed.forget(gone);
        self.passed_by_address.forget(gone);
    }
}

/// All places of the one are places of the other.
fn is_part(part: &[TapId], whole: &[TapId]) -> bool {
    part.iter().all(|tap| whole.contains(tap))
}

fn is_fresh(at: u64, now: u64) -> bool {
    at.saturating_add(FRESH) >= now
}

/// All places have seen the same address asked.
fn is_plain(seen: &[Sighting]) -> bool {
    seen.windows(2).all(|pair| pair[0].case.destination == pair[1].case.destination)
}

/// What has passed places, each by who is asked, in bounded memory: of those that have missed something.
#[derive(Debug, Clone)]
struct Passed<K>(FxHashMap<(TapId, K), VecDeque<(u64, bool)>>);

impl<K> Default for Passed<K> {
    fn default() -> Self {
        Self(FxHashMap::default())
    }
}

impl<K: Copy + Eq + Hash> Passed<K> {
    fn put(&mut self, place: (TapId, K), moment: (u64, bool)) {
        if self.0.len() >= MOST_PASSED && !self.0.contains_key(&place) {
            self.0.clear();
        }
        let moments = match self.0.entry(place) {
            Entry::Occupied(known) => known.into_mut(),
            // Who has missed nothing needs no memory.
            Entry::Vacant(_) if moment.1 => return,
            Entry::Vacant(new) => new.insert(VecDeque::new()),
        };
        // Of a second it is kept whether something was missed: those that are judged are some seconds old by then.
        let same = |(at, _): &&mut (u64, bool)| *at / 1_000 == moment.0 / 1_000;
        if let Some((_, was_seen)) = moments.iter_mut().rev().take(LATEST).find(same) {
            *was_seen &= moment.1;
            return;
        }
        if moments.len() >= MOST_MOMENTS {
            moments.pop_front();
        }
        moments.push_back(moment);
    }

    fn has_missed(&self, place: (TapId, K), moment: u64) -> bool {
        let Some(moments) = self.0.get(&place) else { return false };
        let near = || moments.iter().filter(|(at, _)| at.abs_diff(moment) <= AROUND);
        let before = near().filter(|(at, _)| *at <= moment).max_by_key(|(at, was_seen)| (*at, !*was_seen));
        let after = near().filter(|(at, _)| *at > moment).min_by_key(|(at, was_seen)| (*at, *was_seen));
        before.into_iter().chain(after).any(|(_, was_seen)| !was_seen)
    }

    /// One of those that passed in the minute before or after.
    fn has_missed_any(&self, place: (TapId, K), moment: u64) -> bool {
        let moments = self.0.get(&place).into_iter().flatten();
        moments.into_iter().any(|(at, was_seen)| !was_seen && at.abs_diff(moment) <= FRESH)
    }

    fn forget_old(&mut self, old: u64) {
        self.0.retain(|_, moments| moments.back().is_some_and(|(at, _)| *at >= old));
    }

    fn forget(&mut self, gone: &FxHashSet<TapId>) {
        self.0.retain(|(tap, _), _| !gone.contains(tap));
    }
}
