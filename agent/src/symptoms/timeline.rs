//! Packets' times on a clock that nobody sets.
//!
//! Owns how far the clock on the wall, by which the kernel stamps packets, is ahead of the node's boot-time clock, and
//! whether somebody has set it. Pure: what the clocks say comes in from outside.

use crate::moment::Moment;

/// Two clocks that are read one after the other are so far apart, in nanoseconds; further, one of them was set.
const SET: i64 = 100_000_000;
/// Packets wait for so long before they are read at most. One that is older by its stamp was stamped before the clock was
/// set forward.
const OLD: i64 = 5_000_000_000;
/// Reading goes on for so long without a look at the clocks.
const NEW: i64 = 1_000_000_000;

/// From the wall's time to that of the boot-time clock and back, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Timeline {
    ahead: i64,
    now: i64,
    set: bool,
}

impl Timeline {
    /// By what the clocks say now.
    pub fn new(now: Moment) -> Self {
        let steady = now.boot.as_nanos();
        Self { ahead: wall(now).wrapping_sub(steady), now: steady, set: false }
    }

    /// The clocks say this now, before packets are read.
    pub fn look(&mut self, now: Moment) {
        self.now = now.boot.as_nanos();
        let ahead = wall(now).wrapping_sub(self.now);
        if ahead.abs_diff(self.ahead) > SET as u64 {
            (self.ahead, self.set) = (ahead, true);
        }
    }

    /// The boot-time clock when it was last looked at.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// The clock on the wall was set since this was asked last.
    pub fn was_set(&mut self) -> bool {
        std::mem::take(&mut self.set)
    }

    /// When a packet came that has this stamp. One that cannot be from lately was stamped by a clock that was set since,
    /// or is set and not looked at yet: it has come just now.
    #[inline]
    pub fn steady(&self, stamp: i64) -> i64 {
        let at = stamp.wrapping_sub(self.ahead);
        let age = self.now.wrapping_sub(at);
        if (-NEW..=OLD).contains(&age) { at } else { self.now }
    }

    /// The wall's time of a moment, as the clock stands now.
    pub fn on_the_wall(&self, at: i64) -> i64 {
        at.wrapping_add(self.ahead)
    }
}

fn wall(now: Moment) -> i64 {
    now.unix_nanos as i64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    const MILLI: i64 = 1_000_000;

    #[test]
    fn spans_are_the_same_however_the_clock_is_set() {
        let clock = Clock::standing(1_000_000, 1_700_000_000_000);
        let stamp = |clock: &Clock| clock.unix_nanos() as i64;
        let mut line = Timeline::new(Moment::by(&clock));
        let first = line.steady(stamp(&clock));
        assert_eq!((first, line.on_the_wall(first)), (1_000_000 * MILLI, stamp(&clock)));
        for step in [3_600_000_i64, -3_600_000, 86_400_000, -1_000] {
            let before = stamp(&clock);
            clock.advance(Duration::from_millis(200));
            clock.set_wall(clock.unix_millis().saturating_add_signed(step));
            // Stamped by the new clock, and not looked at yet.
            let early = line.steady(stamp(&clock));
            assert!(early.abs_diff(Moment::by(&clock).boot.as_nanos()) <= 1200 * MILLI as u64, "{step}: {early}");
            line.look(Moment::by(&clock));
            assert!(line.was_set() && !line.was_set(), "{step}");
            let now = Moment::by(&clock).boot.as_nanos();
            assert_eq!(line.steady(stamp(&clock)), now, "{step}");
            // And by the old one.
            assert!(line.steady(before).abs_diff(now) <= 1200 * MILLI as u64, "{step}");
        }
        clock.advance(Duration::from_secs(3600));
        line.look(Moment::by(&clock));
        assert!(!line.was_set(), "time goes on");
        let now = Moment::by(&clock).boot.as_nanos();
        assert_eq!(line.steady(stamp(&clock) - 90 * MILLI), now - 90 * MILLI);
        for stamp in [0, i64::MAX, i64::MIN] {
            assert_eq!(line.steady(stamp), now);
        }
    }
}
