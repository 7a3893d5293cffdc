//! Time of which not all was seen, although a node was watched.
//!
//! Owns how it is counted: by the laptop's clock, and no second twice. Pure.

use nodewatch_protocol::{Symptoms, UnixMillis};

/// A second may be told of so much later than it ended.
const LATE: UnixMillis = 1_500;
/// So much sooner than it lasts after the one before, it was told of late.
const SOON: UnixMillis = 500;

/// Milliseconds of which something is missing, by why it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unseen {
    /// The kernel had no room for packets.
    pub dropped: UnixMillis,
    /// The analysis was behind and has left packets out.
    pub behind: UnixMillis,
    /// An interface was not there, or down.
    pub gone: UnixMillis,
    /// Nothing was told: the tunnel was cut, or the agent was replaced.
    pub untold: UnixMillis,
    /// Up to then what was lost is counted.
    counted: UnixMillis,
    /// When something was told last.
    last: Option<UnixMillis>,
}

impl Unseen {
    /// A second was told of.
    pub(super) fn hear(&mut self, told: &Symptoms, now: UnixMillis) {
        let is = |lost: fn(&nodewatch_protocol::WatchedInterface) -> u64| told.interfaces.iter().any(|it| lost(it) > 0);
        let of = [
            (is(|it| it.dropped), &mut self.dropped),
            (is(|it| it.skipped), &mut self.behind),
            (is(|it| it.gone.into()), &mut self.gone),
        ];
        if let Some((_, of)) = of.into_iter().find(|(is_so, _)| *is_so) {
            // What is captured is told of apart from the rest of the same second.
            let lost = told.millis.min(now.saturating_sub(self.counted));
            *of = of.saturating_add(lost);
            self.counted = now;
        }
        if told.captured {
            return;
        }
        if let Some(last) = self.last {
            let since = now.saturating_sub(last);
            if since > told.millis.saturating_add(LATE) {
                self.untold = self.untold.saturating_add(since - told.millis);
            } else if since.saturating_add(SOON) < told.millis {
                // What was missing then comes late.
                self.untold = self.untold.saturating_sub(told.millis - since);
            }
        }
        self.last = Some(now);
    }

    /// It is not to be watched any more.
    pub(super) fn rests(&mut self) {
        self.last = None;
    }

    /// The same now, with the time in which nothing was told until now.
    pub(super) fn at(mut self, now: UnixMillis) -> Self {
        let silent = self.last.map_or(0, |last| now.saturating_sub(last));
        if silent > 1_000 + LATE {
            self.untold = self.untold.saturating_add(silent);
        }
        self
    }

    /// All of it.
    pub fn total(&self) -> UnixMillis {
        [self.dropped, self.behind, self.gone, self.untold].into_iter().fold(0, UnixMillis::saturating_add)
    }

    /// Adds those of another node.
    pub fn add(&mut self, other: &Self) {
        self.dropped = self.dropped.saturating_add(other.dropped);
        self.behind = self.behind.saturating_add(other.behind);
        self.gone = self.gone.saturating_add(other.gone);
        self.untold = self.untold.saturating_add(other.untold);
    }
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::WatchedInterface;

    use super::*;

    const NOW: UnixMillis = 1_000_000;

    fn second(captured: bool, dropped: u64, skipped: u64) -> Symptoms {
        let interface = WatchedInterface { dropped, skipped, ..WatchedInterface::default() };
        Symptoms { captured, millis: 1000, interfaces: vec![interface], ..Symptoms::default() }
    }

    fn counts(unseen: &Unseen, now: UnixMillis) -> [UnixMillis; 3] {
        let unseen = unseen.at(now);
        assert_eq!(unseen.total(), unseen.dropped + unseen.behind + unseen.gone + unseen.untold);
        [unseen.dropped, unseen.behind, unseen.untold]
    }

    #[test]
    fn time_in_which_an_interface_is_gone_is_counted() {
        let mut unseen = Unseen::default();
        unseen.hear(&second(false, 0, 0), NOW);
        let interface = WatchedInterface { gone: true, ..WatchedInterface::default() };
        let gone = Symptoms { interfaces: vec![WatchedInterface::default(), interface], ..second(false, 0, 0) };
        unseen.hear(&gone, NOW + 1_000);
        unseen.hear(&gone, NOW + 2_000);
        unseen.hear(&second(false, 0, 0), NOW + 3_000);
        assert_eq!((unseen.gone, counts(&unseen, NOW + 3_000)), (2_000, [0; 3]));
    }

    #[test]
    fn seconds_in_which_packets_were_lost_are_counted_once() {
        let mut unseen = Unseen::default();
        unseen.hear(&second(false, 0, 0), NOW);
        unseen.hear(&second(false, 3, 9), NOW + 1_000);
        unseen.hear(&second(true, 4, 0), NOW + 1_100);
        unseen.hear(&second(false, 0, 1), NOW + 2_000);
        unseen.hear(&second(true, 0, 0), NOW + 2_100);
        assert_eq!(counts(&unseen, NOW + 2_100), [1_100, 900, 0]);
    }

    #[test]
    fn time_in_which_nothing_was_told_is_counted_and_what_comes_late_is_not() {
        let mut unseen = Unseen::default();
        (0..5).for_each(|at| unseen.hear(&second(false, 0, 0), NOW + at * 1_000 + at % 2 * 300));
        assert_eq!(counts(&unseen, NOW + 5_000), [0; 3], "a little early, a little late");
        // A tunnel that stands still, and then brings all of it.
        assert_eq!(counts(&unseen, NOW + 34_000), [0, 0, 30_000]);
        (0..30).for_each(|_| unseen.hear(&second(false, 0, 0), NOW + 34_000));
        assert_eq!(counts(&unseen, NOW + 34_000), [0; 3]);
        // One that is cut.
        unseen.hear(&second(false, 0, 0), NOW + 64_000);
        unseen.hear(&second(false, 0, 0), NOW + 65_000);
        assert_eq!(counts(&unseen, NOW + 65_000), [0, 0, 29_000]);
        // What is not to be watched is not missing.
        unseen.rests();
        assert_eq!(counts(&unseen, NOW + 500_000), [0, 0, 29_000]);
        unseen.hear(&second(false, 0, 0), NOW + 500_000);
        assert_eq!(counts(&unseen, NOW + 500_000), [0, 0, 29_000]);
        let endless = Symptoms { millis: u64::MAX, ..second(false, 1, 0) };
        unseen.hear(&endless, NOW + 501_000);
    }
}
