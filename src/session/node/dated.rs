//! When what an agent tells was seen, by the laptop's clock.
//!
//! Owns that lines which have waited in a tunnel are not taken for new: what lies between them is what their agent says.
//! Pure.

use nodewatch_protocol::UnixMillis;

/// Two clocks differ by less than one part in so many.
const DRIFT: UnixMillis = 200;

/// The last line over the tunnel that is up: when it was seen by the agent's clock, and by the laptop's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dated(Option<(UnixMillis, UnixMillis)>);

impl Dated {
    /// When that was seen which comes now: at that moment of the agent's clock, and so long after the line before it at
    /// least. The first over a tunnel has not waited.
    pub(super) fn date(&mut self, at: UnixMillis, millis: UnixMillis, now: UnixMillis) -> UnixMillis {
        // A clock that was set back says nothing of what has passed.
        let seen = self.0.filter(|(last, _)| *last < at).map_or(now, |(last, seen)| {
            let passed = (at - last).max(millis);
            seen.saturating_add(passed).saturating_add(passed / DRIFT).min(now)
        });
        self.0 = Some((at, seen));
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = 1_000_000;

    #[test]
    fn lines_that_have_waited_are_as_old_as_they_are_and_those_after_them_are_new() {
        let mut dated = Dated::default();
        let at = |second: u64| 50_000 + second * 1_000;
        for second in 0..10 {
            assert_eq!(dated.date(at(second), 1_000, NOW + second * 1_000), NOW + second * 1_000);
        }
        // A minute in which nothing comes, and then all of it; some was left out.
        let late: Vec<UnixMillis> =
            (10..40).chain(60..70).map(|second| dated.date(at(second), 1_000, NOW + 69_500)).collect();
        for (second, seen) in (10..40).chain(60..70).zip(&late) {
            assert!(seen.abs_diff(NOW + second * 1_000) <= 400, "{second}: {seen}");
        }
        for second in 70..90 {
            assert!(dated.date(at(second), 1_000, NOW + second * 1_000).abs_diff(NOW + second * 1_000) <= 400);
        }
    }

    #[test]
    fn clocks_that_are_set_or_run_slow_make_nothing_old() {
        let mut dated = Dated::default();
        for hour in 0..24 {
            let second = hour * 3_600_000;
            // Slower by a tenth of a percent.
            let seen = dated.date(second - second / 1_000, 1_000, NOW + second);
            assert_eq!(seen, NOW + second);
        }
        let day = 24 * 3_600_000;
        assert_eq!(dated.date(7, 1_000, NOW + day), NOW + day, "set back");
        assert_eq!(dated.date(UnixMillis::MAX, 1_000, NOW + day + 1_000), NOW + day + 1_000, "set ahead");
        assert_eq!(dated.date(UnixMillis::MAX, UnixMillis::MAX, NOW + day + 2_000), NOW + day + 2_000);
    }
}
