//! What was counted of pairs of ends: in the last minute, and how long things took.
//!
//! Owns how a second is added, and how what is recent gets old. No number overflows. Pure.

use std::{collections::VecDeque, ops::AddAssign};

use nodewatch_protocol::{Spread, Sums, UnixMillis};

/// What counts as recent, in milliseconds.
pub const WINDOW: UnixMillis = 60_000;

/// What was seen lately. There are very many of these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recent {
    /// Packets, both ways.
    pub packets: u32,
    /// Packets of TCP.
    pub segments: u32,
    /// Connections that were begun, questions that were asked.
    pub attempts: u32,
    /// Failures, whichever symptom.
    pub failed: u32,
    /// Attempts that had to be repeated.
    pub delayed: u32,
    /// Segments that were sent again.
    pub retransmitted: u32,
}

impl From<Sums> for Recent {
    fn from(sums: Sums) -> Self {
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            packets: small(sums.packets),
            segments: small(sums.segments),
            attempts: small(sums.attempts),
            failed: small(sums.failed),
            delayed: small(sums.delayed),
            retransmitted: small(sums.retransmitted),
        }
    }
}

impl AddAssign for Recent {
    fn add_assign(&mut self, other: Self) {
        let add = |sum: &mut u32, more: u32| *sum = sum.saturating_add(more);
        add(&mut self.packets, other.packets);
        add(&mut self.segments, other.segments);
        add(&mut self.attempts, other.attempts);
        add(&mut self.failed, other.failed);
        add(&mut self.delayed, other.delayed);
        add(&mut self.retransmitted, other.retransmitted);
    }
}

impl Recent {
    /// Segments of TCP that were sent again, in thousandths; `None` where there were none at all.
    pub fn retransmitted_share(&self) -> Option<u64> {
        let share = u64::from(self.retransmitted) * 1000 / u64::from(self.segments).max(1);
        (self.segments > 0).then_some(share.min(1000))
    }
}

/// What was seen in the last [`WINDOW`], by steps; those in which nothing was seen take no room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Window(VecDeque<(u64, Recent)>);

impl Window {
    pub(super) fn add(&mut self, now: UnixMillis, step: UnixMillis, seen: Recent) {
        let at = now / step;
        match self.0.back_mut() {
            Some((last, known)) if *last >= at => *known += seen,
            _ => self.0.push_back((at, seen)),
        }
        while self.0.front().is_some_and(|(first, _)| first.saturating_add(WINDOW / step) <= at) {
            self.0.pop_front();
        }
    }

    pub(super) fn sum(&self, now: UnixMillis, step: UnixMillis) -> Recent {
        let mut sum = Recent::default();
        for (_, seen) in self.0.iter().rev().take_while(|(at, _)| at.saturating_add(WINDOW / step) > now / step) {
            sum += *seen;
        }
        sum
    }
}

/// How long something took lately: what was told last weighs most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took {
    /// How many were measured, in all.
    pub count: u64,
    /// What those that are remembered weigh.
    weight: u64,
    /// Half of them took no longer, in microseconds.
    pub p50: u64,
    /// 99 of a hundred took no longer, in microseconds.
    pub p99: u64,
}

impl Took {
    pub(super) fn and(known: Option<Self>, told: Spread) -> Option<Self> {
        let Some(before) = known else {
            let Spread { count, p50, p99 } = told;
            return (count > 0).then_some(Self { count, weight: count, p50, p99 });
        };
        // What was known until now counts half.
        let weight = |count: u64| u128::from(u32::try_from(count).unwrap_or(u32::MAX));
        let (old, new) = (weight(before.weight / 2), weight(told.count));
        let mean = |a: u64, b: u64| {
            let mean = (u128::from(a) * old + u128::from(b) * new) / (old + new).max(1);
            u64::try_from(mean).unwrap_or(u64::MAX)
        };
        if told.count == 0 {
            return known;
        }
        Some(Self {
            count: before.count.saturating_add(told.count),
            weight: (before.weight / 2).saturating_add(told.count),
            p50: mean(before.p50, told.p50),
            p99: mean(before.p99, told.p99),
        })
    }
}
