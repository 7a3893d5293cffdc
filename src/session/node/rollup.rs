//! A whole session's rates in bounded memory.
//!
//! Owns the averaging: when there are too many points, neighbours become one. Pure.

use nodewatch_protocol::{UnixMillis, Window};

use crate::model::RatePoint;

/// Points kept; of a day that is one in three minutes, of an hour one in seven seconds.
const MOST: usize = 512;

/// Rates over time, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Rollup {
    points: Vec<RatePoint>,
    /// Seconds that a point stands for.
    span: u64,
}

impl Rollup {
    pub(super) fn push(&mut self, at: UnixMillis, window: &Window) {
        self.span = self.span.max(1);
        match self.points.last_mut() {
            Some(last) if at.saturating_sub(last.at) < self.span * 1000 => {
                last.packets += window.packets;
                last.bytes += window.bytes;
                last.millis += window.millis;
            }
            _ => {
                self.points.push(RatePoint { at, millis: window.millis, packets: window.packets, bytes: window.bytes });
            }
        }
        if self.points.len() >= MOST {
            self.points = self
                .points
                .chunks(2)
                .map(|pair| RatePoint {
                    at: pair[0].at,
                    millis: pair.iter().map(|point| point.millis).sum(),
                    packets: pair.iter().map(|point| point.packets).sum(),
                    bytes: pair.iter().map(|point| point.bytes).sum(),
                })
                .collect();
            self.span *= 2;
        }
    }

    /// The points, oldest first.
    pub fn points(&self) -> &[RatePoint] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_seconds_keeps_its_sum_in_few_points() {
        let mut rollup = Rollup::default();
        for second in 0..86_400 {
            rollup.push(second * 1000, &Window { packets: 3, bytes: 300, millis: 1000 });
        }
        assert!(rollup.points().len() < MOST);
        assert_eq!(rollup.points().iter().map(|point| point.packets).sum::<u64>(), 3 * 86_400);
        assert!(rollup.points().is_sorted_by_key(|point| point.at));
    }
}
