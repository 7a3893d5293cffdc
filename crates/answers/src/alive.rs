//! Who has answered lately: what has not for long, and is nobody's endpoint, is a scan or an old setting and no failure.
//!
//! Owns for how long that is known, in bounded memory. Where not all can be known, everybody counts as alive.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

/// Without an answer for so long, in milliseconds, nobody is there.
pub(crate) const LONG: u64 = 15 * 60_000;
/// Addresses and ports that are known.
const MOST: usize = 60_000;

/// When each address and port has answered last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alive {
    answered: FxHashMap<(IpAddr, u16), u64>,
    /// Since when all are known that have answered.
    since: u64,
}

impl Alive {
    /// That one has answered.
    pub(crate) fn answers(&mut self, target: (IpAddr, u16), now: u64) {
        if self.answered.len() >= MOST && !self.answered.contains_key(&target) {
            self.answered.retain(|_, last| last.saturating_add(LONG) > now);
            if self.answered.len() >= MOST {
                // Whoever had no room is not known to be silent.
                self.since = now;
                return;
            }
        }
        self.answered.insert(target, now);
    }

    /// That one has answered nobody for long, as far as was listened.
    pub(crate) fn is_silent(&self, target: (IpAddr, u16), now: u64) -> bool {
        let long_ago = |at: u64| at.saturating_add(LONG) <= now;
        long_ago(self.since) && self.answered.get(&target).is_none_or(|last| long_ago(*last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_answered_within_the_time_is_not_silent_and_nobody_is_where_not_all_had_room() {
        const NOW: u64 = 1_700_000_000_000;
        let target = |number: u32| (IpAddr::from(number.to_be_bytes()), 80);
        let mut alive = Alive::default();
        alive.answers(target(2), NOW);
        assert!(alive.is_silent(target(1), NOW));
        assert!(!alive.is_silent(target(2), NOW + LONG - 1) && alive.is_silent(target(2), NOW + LONG));
        for number in 0..=MOST as u32 {
            alive.answers(target(number), NOW + LONG);
        }
        assert!(alive.answered.len() <= MOST);
        assert!(!alive.is_silent(target(u32::MAX), 2 * LONG + NOW - 1));
        assert!(alive.is_silent(target(u32::MAX), 2 * LONG + NOW));
    }
}
