//! The places that connections take on their way, and which of these have lately missed some that were answered.
//!
//! Owns what is learned from connections that were answered, in bounded memory. A way is known of the end that it leads to:
//! of one address of a service there are as many as it has backends. To an address that is not translated all ports are on one
//! way, so that one of which nothing was ever answered is known too.

use std::{
    collections::{VecDeque, hash_map::Entry},
    net::IpAddr,
};

use nodewatch_protocol::Case;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::paths::{Sighting, TapId};

/// Ways that are known: those of 12,000 pairs of pods.
const MOST_WAYS: usize = 40_000;
/// Places of which it is known what has passed there, each by who is asked, and moments of each.
const MOST_PASSED: usize = 8192;
const MOST_MOMENTS: usize = 128;
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
    /// By where it begins, of addresses that are not translated.
    address: FxHashMap<(TapId, IpAddr), Vec<TapId>>,
    /// When those that were answered have passed a place on their way, and whether they were seen there.
    passed: FxHashMap<(TapId, End), VecDeque<(u64, bool)>>,
}

/// A way, in the order of its places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) taps: &'a [TapId],
    /// Only of other ports of that address it is known.
    by_address: bool,
}

/// What passes is remembered of the address too.
fn ends_of(last: &Case, by_address: bool) -> End {
    let (address, port) = end(last);
    (address, if by_address { 0 } else { port })
}

impl Ways {
    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.ends.len() + self.target.len() + self.backend.len() + self.address.len()
    }

    /// One that was answered has gone there.
    pub(crate) fn learn(&mut self, way: &[Sighting]) {
        let (Some(first), Some(last)) = (way.first(), way.last()) else { return };
        if self.len() > MOST_WAYS {
            (self.ends, self.target, self.backend, self.address) = Default::default();
        }
        let mut taps: Vec<TapId> = way.iter().map(|sighting| sighting.tap).collect();
        taps.dedup();
        let longer = |known: &mut Vec<TapId>| {
            if known.len() <= taps.len() {
                known.clone_from(&taps);
            }
        };
        let (asked, backend) = (end(&first.case), end(&last.case));
        longer(self.ends.entry((first.tap, first.case.source, asked, backend)).or_default());
        longer(self.target.entry((first.tap, asked, backend)).or_default());
        longer(self.backend.entry(backend).or_default());
        if way.iter().all(|it| it.case.destination == backend.0) {
            longer(self.address.entry((first.tap, backend.0)).or_default());
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
        let is_plain = seen.iter().all(|it| it.case.destination == backend.0);
        let of_address = self.address.get(&(first.tap, backend.0)).filter(|_| is_plain);
        of_address.map(|taps| Way { taps, by_address: true })
    }

    /// Something that was answered was asked of one address, and has answered at the other.
    pub(crate) fn is_translated(&self, asked: IpAddr, backend: IpAddr) -> bool {
        self.target.keys().any(|(_, from, to)| (from.0, to.0) == (asked, backend))
    }

    /// One that was answered has passed all places of its way: which of them should have told of it, and when that was there.
    pub(crate) fn passes(&mut self, seen: &[Sighting], should_tell: impl Fn(TapId) -> Option<u64>) {
        let (Some(way), Some(last)) = (self.of(seen).map(|way| way.taps.to_vec()), seen.last()) else { return };
        for tap in way {
            let was_seen = seen.iter().any(|it| it.tap == tap);
            let Some(moment) = should_tell(tap) else { continue };
            for by_address in [false, true] {
                self.pass((tap, ends_of(&last.case, by_address)), (moment, was_seen));
            }
        }
    }

    fn pass(&mut self, place: (TapId, End), moment: (u64, bool)) {
        if self.passed.len() >= MOST_PASSED && !self.passed.contains_key(&place) {
            self.passed.clear();
        }
        let moments = match self.passed.entry(place) {
            Entry::Occupied(known) => known.into_mut(),
            // Who has missed nothing needs no memory.
            Entry::Vacant(_) if moment.1 => return,
            Entry::Vacant(new) => new.insert(VecDeque::new()),
        };
        if moments.len() >= MOST_MOMENTS {
            moments.pop_front();
        }
        moments.push_back(moment);
    }

    /// Of those on that way that were answered just before that moment, or just after, the place has missed one.
    pub(crate) fn is_blind(&self, way: Way<'_>, tap: TapId, (last, moment): (&Case, u64)) -> bool {
        let Some(moments) = self.passed.get(&(tap, ends_of(last, way.by_address))) else { return false };
        let near = || moments.iter().filter(|(at, _)| at.abs_diff(moment) <= AROUND);
        let before = near().filter(|(at, _)| *at <= moment).max_by_key(|(at, was_seen)| (*at, !*was_seen));
        let after = near().filter(|(at, _)| *at > moment).min_by_key(|(at, was_seen)| (*at, *was_seen));
        before.into_iter().chain(after).any(|(_, was_seen)| !was_seen)
    }

    /// What was missed before that is forgotten, where there is nothing newer.
    pub(crate) fn forget_old(&mut self, old: u64) {
        self.passed.retain(|_, moments| moments.back().is_some_and(|(at, _)| *at >= old));
    }

    /// These places are others from now on.
    pub(crate) fn forget(&mut self, gone: &FxHashSet<TapId>) {
        let stays = |way: &Vec<TapId>| !way.iter().any(|tap| gone.contains(tap));
        self.ends.retain(|_, way| stays(way));
        self.target.retain(|_, way| stays(way));
        self.backend.retain(|_, way| stays(way));
        self.address.retain(|_, way| stays(way));
        self.passed.retain(|(tap, _), _| !gone.contains(tap));
    }
}
