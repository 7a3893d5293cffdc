//! When a node's next report is due, and its number.
//!
//! Owns that for both programs. Pure: time is milliseconds by a clock of whoever asks, which may be set in between.

use nodewatch_protocol::{Seconds, UnixMillis};

/// The shortest and the longest time between two reports, in seconds, as the command lines have it: a plan may come from anywhere.
const INTERVALS: (u64, u64) = (1, 86_400);

/// When one reporter's reports of one node are due. The first is due at once, one that was missed is not made up for, and after a
/// clock was set back the pace goes on from there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    next: UnixMillis,
    sequence: u64,
}

impl Schedule {
    /// Nothing is reported yet, and the first report has that [number](crate::Report::sequence).
    pub fn from(sequence: u64) -> Self {
        Self { next: 0, sequence }
    }

    /// Something was reported.
    pub fn has_begun(&self) -> bool {
        self.next > 0
    }

    /// Whether a report is due now.
    fn is_due(&self, now: UnixMillis, interval: Seconds) -> bool {
        // One that is further off than an interval was fixed before the clock was set back.
        now >= self.next || self.next - now > millis(interval)
    }

    /// A report is made now: its number, and the next one is fixed.
    fn begin(&mut self, now: UnixMillis, interval: Seconds) -> u64 {
        let interval = millis(interval);
        let next = self.next.saturating_add(interval);
        let missed = next.saturating_add(interval) <= now || next.saturating_sub(now) > interval;
        self.next = if missed || !self.has_begun() { now.saturating_add(interval) } else { next.max(now) };
        let sequence = self.sequence;
        self.sequence = sequence.saturating_add(1);
        sequence
    }
}

fn millis(interval: Seconds) -> u64 {
    interval.get().clamp(INTERVALS.0, INTERVALS.1) * 1000
}

/// Which report it is, and what is to be said in it besides ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occasion {
    /// Its time by the wall's clock.
    pub at: UnixMillis,
    /// Its [number](crate::Report::sequence).
    pub sequence: u64,
    /// What failed on the node since the last report.
    pub agent_errors: u64,
}

impl Occasion {
    /// The report that is due `now`, by the schedule's clock, if one is: it takes its number, and the errors that it tells. `at` is
    /// the same moment by the wall's clock.
    pub fn due(
        schedule: &mut Schedule,
        interval: Seconds,
        (now, at): (UnixMillis, UnixMillis),
        errors: &mut u64,
    ) -> Option<Self> {
        if !schedule.is_due(now, interval) {
            return None;
        }
        let sequence = schedule.begin(now, interval);
        Some(Self { at, sequence, agent_errors: std::mem::take(errors) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which of these seconds a report is made.
    fn made(interval: u64, seconds: &[u64]) -> Vec<u64> {
        let mut schedule = Schedule::default();
        let mut errors = 1;
        let due = |second: &u64| {
            let now = second * 1000;
            Occasion::due(&mut schedule, interval.into(), (now, now), &mut errors).map(|occasion| (*second, occasion))
        };
        let made: Vec<(u64, Occasion)> = seconds.iter().filter_map(due).collect();
        for (number, (_, occasion)) in made.iter().enumerate() {
            assert_eq!((occasion.sequence, occasion.agent_errors), (number as u64, u64::from(number == 0)));
        }
        made.into_iter().map(|(second, _)| second).collect()
    }

    #[test]
    fn a_report_is_due_at_its_interval_and_a_missed_one_is_not_made_up_for() {
        assert_eq!(made(60, &[1, 2, 60, 61, 62, 120, 121, 1000, 1001, 1060]), [1, 61, 121, 1000, 1060]);
        // A little late is no reason to be later each time.
        assert_eq!(made(60, &[1, 65, 121, 181]), [1, 65, 121, 181]);
        // From the beginning of a clock too.
        assert_eq!(made(60, &[0, 1, 59, 60]), [0, 60]);
    }

    #[test]
    fn a_clock_that_is_set_takes_no_report_away() {
        assert_eq!(made(60, &[100_000, 100_030, 89_200, 89_230, 89_260]), [100_000, 89_200, 89_260]);
        assert_eq!(made(60, &[100_000, 175_600, 175_601, 175_660]), [100_000, 175_600, 175_660]);
    }

    #[test]
    fn an_interval_that_no_clock_knows_is_a_second_or_a_day() {
        assert_eq!(made(0, &[5, 6]), [5, 6]);
        assert_eq!(made(u64::MAX, &[5, 86_404, 86_405]), [5, 86_405]);
        let mut schedule = Schedule::from(7);
        assert_eq!(schedule.begin(u64::MAX, Seconds::MAX), 7);
        assert!(schedule.has_begun());
        assert_eq!(schedule.begin(u64::MAX, Seconds::MAX), 8);
    }
}
