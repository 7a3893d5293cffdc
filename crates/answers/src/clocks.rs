//! How far the clocks of two nodes are apart, by connections that both have seen answered.
//!
//! Owns the bounds. What has left one node before it came to the other one bounds the difference from one side, the answer
//! from the other side: between them lies what cannot be known, the shortest round trip. Pure, in bounded memory.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Bounds are kept by spans of so many milliseconds, and so many of these.
const SPAN: u64 = 10_000;
const MOST_SPANS: usize = 6;
/// Pairs of nodes that are known.
const MOST_PAIRS: usize = 20_000;

/// Times of two nodes, held against each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockGap {
    /// A node.
    pub node: String,
    /// Times of this one are ahead of the other's by so much, in nanoseconds; behind where that is negative.
    pub ahead: String,
    /// By how much.
    pub by: i64,
    /// It may be so much more or less.
    pub error: i64,
}

/// By how much a clock is ahead, at least and at most, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    least: i64,
    most: i64,
}

impl Bounds {
    fn and(self, other: Self) -> Option<Self> {
        let both = Self { least: self.least.max(other.least), most: self.most.min(other.most) };
        (both.least <= both.most).then_some(both)
    }
}

/// Of all pairs of nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clocks(BTreeMap<(String, String), VecDeque<(u64, Bounds)>>);

impl Clocks {
    /// A connection was begun and answered: when either was seen at one node, and then at the next one on its way.
    pub(crate) fn learn(&mut self, (here, began, answered): (&str, i64, i64), there: (&str, i64, i64)) {
        let (node, arrived, sent_back) = there;
        let most = arrived.saturating_sub(began);
        let least = sent_back.saturating_sub(answered);
        // One that was begun again elsewhere, or stamped by a clock that was set meanwhile, says nothing.
        if least > most || here == node {
            return;
        }
        let (key, bounds) = if here < node {
            ((here, node), Bounds { least, most })
        } else {
            ((node, here), Bounds { least: most.saturating_neg(), most: least.saturating_neg() })
        };
        let span = u64::try_from(began / 1_000_000).unwrap_or(0) / SPAN;
        let key = (key.0.to_owned(), key.1.to_owned());
        if self.0.len() >= MOST_PAIRS && !self.0.contains_key(&key) {
            return;
        }
        let spans = self.0.entry(key).or_default();
        match spans.back_mut().filter(|(known, _)| *known >= span) {
            // Where they contradict each other, a clock was set: the later one stands.
            Some((_, known)) => *known = known.and(bounds).unwrap_or(bounds),
            None => spans.push_back((span, bounds)),
        }
        if spans.len() > MOST_SPANS {
            spans.pop_front();
        }
    }

    /// How far the clocks of two nodes are apart now, as far back as nothing contradicts it.
    pub(crate) fn gap(&self, one: &str, other: &str) -> Option<ClockGap> {
        let (node, ahead) = if one < other { (one, other) } else { (other, one) };
        let spans = self.0.get(&(node.to_owned(), ahead.to_owned()))?;
        let mut of_spans = spans.iter().rev().map(|(_, bounds)| *bounds);
        let latest = of_spans.next()?;
        let bounds = of_spans.try_fold(latest, |sum, bounds| sum.and(bounds).ok_or(sum)).unwrap_or_else(|sum| sum);
        let width = bounds.most.saturating_sub(bounds.least);
        let (node, ahead) = (node.to_owned(), ahead.to_owned());
        Some(ClockGap { node, ahead, by: bounds.least + width / 2, error: width / 2 })
    }
}

impl Clocks {
    /// By how much times of the other node are ahead of those of the first, in nanoseconds, as far as that is known.
    pub(crate) fn ahead(&self, of: &str, other: &str) -> i64 {
        if of == other || self.0.is_empty() {
            return 0;
        }
        self.gap(of, other).map_or(0, |gap| if gap.ahead == other { gap.by } else { gap.by.saturating_neg() })
    }

    /// All of it is of another time.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl ClockGap {
    /// For people: `times of b are 4.98 ms ± 0.11 ms ahead of a's`.
    pub fn text(&self) -> String {
        let millis = |nanos: i64| format!("{:.2} ms", nanos.unsigned_abs() as f64 / 1e6);
        let Self { node, ahead, by, error } = self;
        let how = if *by < 0 { "behind" } else { "ahead of" };
        format!("times of {ahead} are {} \u{b1} {} {how} those of {node}", millis(*by), millis(*error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// A connection from a to b, whose clock is ahead by that, at that second; half a round trip is what it takes each way.
    fn seen(clocks: &mut Clocks, second: i64, ahead: i64, ways: (i64, i64)) {
        let began = second * 1000 * MS;
        let answered = began + ways.0 + ways.1;
        clocks.learn(("a", began, answered), ("b", began + ways.0 + ahead, answered - ways.1 + ahead));
    }

    #[test]
    fn the_shortest_ways_of_many_bound_the_difference() {
        let mut clocks = Clocks::default();
        for (second, ways) in [(1, (MS, 9 * MS)), (2, (7 * MS, MS / 5)), (31, (MS / 10, MS))] {
            seen(&mut clocks, second, 5 * MS, ways);
        }
        let gap = clocks.gap("b", "a").expect("known");
        assert_eq!((gap.node.as_str(), gap.ahead.as_str()), ("a", "b"));
        assert!((gap.by - 5 * MS).abs() <= gap.error && gap.error == 150_000, "{gap:?}");
        assert_eq!(gap.text(), "times of b are 4.95 ms \u{b1} 0.15 ms ahead of those of a");
        assert_eq!(clocks.gap("a", "c"), None);
        // As the other one has begun it.
        let mut clocks = Clocks::default();
        clocks.learn(("b", 5 * MS, 7 * MS), ("a", MS, MS));
        let gap = clocks.gap("a", "b").expect("known");
        assert_eq!((gap.by, gap.error), (5 * MS, MS));
        assert!((4 * MS..=6 * MS).contains(&gap.by));
    }

    #[test]
    fn after_a_clock_was_set_what_was_before_does_not_count() {
        let mut clocks = Clocks::default();
        for (second, ahead) in [(1, 0), (12, 0), (25, 40 * MS), (36, 40 * MS)] {
            seen(&mut clocks, second, ahead, (MS, MS));
        }
        let gap = clocks.gap("a", "b").expect("known");
        assert_eq!((gap.by, gap.error), (40 * MS, MS));
        seen(&mut clocks, 36, -3 * MS, (MS, MS));
        let gap = clocks.gap("a", "b").expect("known");
        assert_eq!(gap.text(), "times of b are 3.00 ms \u{b1} 1.00 ms behind those of a");
        // What contradicts itself says nothing.
        clocks.learn(("a", 37_000 * MS, 37_001 * MS), ("b", 37_000 * MS, 37_009 * MS));
        assert_eq!(clocks.gap("a", "b").expect("known").by, -3 * MS);
        for second in 0..1000 {
            seen(&mut clocks, second * 10, 0, (MS, MS));
            clocks.learn(("a", i64::MIN, i64::MAX), ("b", i64::MAX, i64::MIN));
            clocks.learn(("b", i64::MAX, i64::MIN), ("a", i64::MIN, i64::MAX));
        }
        assert!(clocks.0.values().all(|spans| spans.len() <= MOST_SPANS));
    }
}
