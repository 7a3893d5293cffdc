//! What was counted of attempts to reach each target, at each place, in the last minute.
//!
//! Owns the steps in which it is forgotten. Sums are made when they are asked for, of what is kept: there is nothing that
//! could differ from it. Pure; each place tells of a bounded number of pairs a second.

use std::{collections::VecDeque, net::IpAddr};

use nodewatch_protocol::Sums;
use rustc_hash::FxHashMap;

use crate::paths::TapId;

/// Seconds are summed so many at once, in milliseconds.
const STEP: u64 = 5_000;

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) destination: IpAddr,
    pub(crate) port: u16,
    pub(crate) dns: bool,
}

/// By how much the steps of a place begin later than others', in milliseconds, so that not all of them begin at once.
fn shift(tap: TapId) -> u64 {
    u64::from(tap.0) * 1_000 % STEP
}

/// The first step of a place that has something of that moment, or of what was just before it, and of what is not older.
fn oldest(old: u64, tap: TapId) -> u64 {
    (old.saturating_add(shift(tap)).div_ceil(STEP)).saturating_sub(1)
}

/// Those of a step that rules look at.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    packets: u32,
    segments: u32,
    attempts: u32,
    answered: u32,
    lookups: u32,
    failed: u32,
    retransmitted: u32,
}

impl Counts {
    fn add(&mut self, more: &Sums) {
        let add = |sum: &mut u32, more: u64| *sum = sum.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        add(&mut self.packets, more.packets);
        add(&mut self.segments, more.segments);
        add(&mut self.attempts, more.attempts);
        add(&mut self.answered, more.answered);
        add(&mut self.lookups, more.lookups);
        add(&mut self.failed, more.failed);
        add(&mut self.retransmitted, more.retransmitted);
    }

    fn sums(self) -> Sums {
        Sums {
            packets: self.packets.into(),
            segments: self.segments.into(),
            attempts: self.attempts.into(),
            answered: self.answered.into(),
            lookups: self.lookups.into(),
            failed: self.failed.into(),
            retransmitted: self.retransmitted.into(),
            ..Sums::default()
        }
    }
}

/// Of one target at one place.
#[derive(Debug, Clone)]
struct Counted {
    /// The step that was told of last.
    step: u64,
    latest: Counts,
    /// The steps before it that are not forgotten yet.
    before: VecDeque<(u64, Counts)>,
}

impl Counted {
    fn go_to(&mut self, step: u64, oldest: u64) {
        if step > self.step {
            while self.before.front().is_some_and(|(step, _)| *step < oldest) {
                self.before.pop_front();
            }
            self.before.push_back((self.step, std::mem::take(&mut self.latest)));
            self.step = step;
        }
    }

    fn sums(&self, oldest: u64) -> Sums {
        let steps = self.before.iter().copied().chain([(self.step, self.latest)]);
        let mut sums = Sums::default();
        for (_, counts) in steps.filter(|(step, _)| *step >= oldest) {
            sums += counts.sums();
        }
        sums
    }
}

/// Of all targets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pairs {
    counted: FxHashMap<(Target, TapId), Counted>,
    /// Places that know of a target.
    taps: FxHashMap<Target, Vec<TapId>>,
    /// What is older is not looked at, in milliseconds.
    old: u64,
}

impl Pairs {
    /// A place tells of a target at that moment; whether it is the first time in a while that this has answered there.
    pub(crate) fn put(&mut self, now: u64, target: Target, tap: TapId, sums: &Sums) -> bool {
        let step = now.saturating_add(shift(tap)) / STEP;
        let oldest = self.oldest(tap);
        let taps = &mut self.taps;
        let counted = self.counted.entry((target, tap)).or_insert_with(|| {
            taps.entry(target).or_default().push(tap);
            Counted { step, latest: Counts::default(), before: VecDeque::new() }
        });
        counted.go_to(step, oldest);
        let had_answered = counted.latest.answered > 0;
        counted.latest.add(sums);
        sums.answered > 0 && !had_answered
    }

    fn oldest(&self, tap: TapId) -> u64 {
        oldest(self.old, tap)
    }

    /// What is older than that, in milliseconds.
    pub(crate) fn forget(&mut self, old: u64) {
        let is_next = old / STEP > self.old / STEP;
        self.old = self.old.max(old);
        if !is_next {
            return;
        }
        let taps = &mut self.taps;
        self.counted.retain(|(target, tap), counted| {
            let stays = counted.step >= oldest(old, *tap);
            if !stays && let Some(known) = taps.get_mut(target) {
                known.retain(|known| known != tap);
                if known.is_empty() {
                    taps.remove(target);
                }
            }
            stays
        });
    }

    /// All of it is of another time.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.taps.is_empty()
    }

    /// All that were asked.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Target> {
        self.taps.keys().copied()
    }

    /// What each place has counted of a target in the last minute: packets, attempts and what became of them, and segments.
    pub(crate) fn of(&self, target: Target) -> impl Iterator<Item = (TapId, Sums)> {
        let taps = self.taps.get(&target).into_iter().flatten();
        taps.filter_map(move |tap| {
            let (counted, oldest) = (self.counted.get(&(target, *tap))?, self.oldest(*tap));
            (counted.step >= oldest).then(|| (*tap, counted.sums(oldest)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_each_place_is_known_and_nothing_of_what_is_older() {
        const NOW: u64 = 1_700_000_000_000;
        let target = |last: u8| Target { destination: IpAddr::from([10, 0, 0, last]), port: 80, dns: false };
        let sums = |attempts, answered| Sums { packets: 4, attempts, answered, ..Sums::default() };
        let mut pairs = Pairs::default();
        let known = |pairs: &Pairs, last| {
            let mut known: Vec<_> = pairs.of(target(last)).map(|(tap, sums)| (tap.0, sums.attempts)).collect();
            known.sort_unstable();
            known
        };
        for second in 0..200_u64 {
            let now = NOW + second * 1000;
            let is_first = pairs.put(now, target(1), TapId(5), &sums(2, 1));
            assert_eq!(is_first, second.is_multiple_of(5), "{second}");
            if second == 3 {
                assert!(!pairs.put(now, target(1), TapId(10), &sums(7, 0)));
                assert!(pairs.put(now, target(2), TapId(10), &sums(7, 7)));
            }
            pairs.forget(now - 60_000);
            match second {
                3 => assert_eq!(known(&pairs, 1), [(5, 8), (10, 7)]),
                60 => assert_eq!((known(&pairs, 1), known(&pairs, 2)), (vec![(5, 122), (10, 7)], vec![(10, 7)])),
                // Of whole steps: a minute, and what of a step was before.
                66.. => {
                    let expected = 2 * (61 + second % 5 + if second % 5 == 0 { 4 } else { 0 });
                    let [(5, attempts)] = known(&pairs, 1)[..] else { panic!("one place") };
                    assert!(attempts.abs_diff(expected) <= 10, "{attempts} at {second}");
                    assert_eq!(known(&pairs, 2), []);
                }
                _ => {}
            }
        }
        assert_eq!(pairs.targets().count(), 1);
        pairs.forget(NOW + 400_000);
        assert!(pairs.is_empty() && pairs.counted.is_empty());
        pairs.put(u64::MAX - 5, target(1), TapId(5), &sums(u64::MAX, 1));
        pairs.put(NOW, target(1), TapId(5), &sums(u64::MAX, 1));
        assert_eq!(known(&pairs, 1), [(5, u64::from(u32::MAX))]);
    }
}
