//! Counters and gauges of nodes in the last minutes.
//!
//! Owns what has moved when, in bounded memory. What each means is the table's in the crate of signals to say.

use std::collections::{BTreeMap, VecDeque};

use crate::Step;

/// Milliseconds that are kept.
const KEPT: u64 = 150_000;
/// Movements of one counter that are kept.
const MOST_STEPS: usize = 160;
/// Series of all nodes.
const MOST_SERIES: usize = 200_000;
/// Of a node that has told of no signal for so long, in milliseconds, none is known.
const OLD: u64 = 60_000;

#[derive(Debug, Clone, Default)]
struct Series {
    value: u64,
    /// When it was found higher, and from where to where.
    steps: VecDeque<(u64, u64, u64)>,
}

/// Signals that rules look at.
const WANTED: [&str; 18] = [
    "arp.table_fulls",
    "conntrack.count",
    "conntrack.drop",
    "conntrack.early_drop",
    "conntrack.insert_failed",
    "conntrack.max",
    "ena.bw_in_allowance_exceeded",
    "ena.bw_out_allowance_exceeded",
    "ena.conntrack_allowance_exceeded",
    "ena.linklocal_allowance_exceeded",
    "ena.pps_allowance_exceeded",
    "ip.fragmentation_fails",
    "ip.reverse_path_drops",
    "ndisc.table_fulls",
    "softnet.dropped",
    "tcp.ephemeral_ports",
    "tcp.ephemeral_range",
    "tcp.listen_overflows",
];

/// Whether a rule looks at the signal of that name.
pub fn is_wanted(signal: &str) -> bool {
    WANTED.contains(&signal)
}

/// Of one node.
#[derive(Debug, Clone, Default)]
struct Node {
    series: BTreeMap<(String, String), Series>,
    /// When it has told of any last.
    told: u64,
    /// When it has told of all of them again, after a time in which it did not.
    anew: Option<u64>,
}

/// Of all nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    nodes: BTreeMap<String, Node>,
    series: usize,
}

impl Signals {
    /// A signal, of an item of the node or of the node itself, is this high.
    pub(crate) fn put(&mut self, now: u64, (node, name, item): (&str, &str, &str), value: u64) {
        if !self.nodes.contains_key(node) {
            self.nodes.insert(node.to_owned(), Node::default());
        }
        let Some(known) = self.nodes.get_mut(node) else { return };
        known.told = now;
        let key = (name.to_owned(), item.to_owned());
        let Some(series) = known.series.get_mut(&key) else {
            if self.series < MOST_SERIES {
                self.series += 1;
                known.series.insert(key, Series { value, steps: VecDeque::new() });
            }
            return;
        };
        let before = std::mem::replace(&mut series.value, value);
        if value > before && known.anew != Some(now) {
            series.steps.push_back((now, before, value));
        }
        while series.steps.len() > MOST_STEPS
            || series.steps.front().is_some_and(|(at, ..)| at.saturating_add(KEPT) < now)
        {
            series.steps.pop_front();
        }
    }

    /// A node tells of its signals; `anew`: when those have moved that it tells of at this moment is not known.
    pub(crate) fn are_told(&mut self, now: u64, node: &str, anew: bool) {
        if let Some(known) = self.nodes.get_mut(node) {
            known.told = now;
            known.anew = if anew { Some(now) } else { known.anew };
        }
    }

    /// Forgets nodes that tell of none any more.
    pub(crate) fn forget_old(&mut self, now: u64) {
        let series = &mut self.series;
        self.nodes.retain(|_, node| {
            let stays = node.told.saturating_add(OLD) >= now;
            *series -= if stays { 0 } else { node.series.len() };
            stays
        });
    }

    /// When they have moved is of a time that has not come yet.
    pub(crate) fn set_back(&mut self, now: u64) {
        for node in self.nodes.values_mut() {
            node.told = node.told.min(now);
            node.series.values_mut().for_each(|series| series.steps.clear());
        }
    }

    /// Something of a node is no more: what was known of it is not said any more.
    pub(crate) fn forget(&mut self, (node, name, item): (&str, &str, &str)) {
        let gone = self.nodes.get_mut(node).and_then(|known| known.series.remove(&(name.to_owned(), item.to_owned())));
        self.series -= usize::from(gone.is_some());
    }

    /// Whether that signal of a node is known, or one of its items.
    pub(crate) fn has(&self, node: &str, name: &str) -> bool {
        self.items(node, name).next().is_some()
    }

    /// How high a signal of a node is.
    pub(crate) fn value(&self, node: &str, name: &str) -> Option<u64> {
        self.nodes.get(node)?.series.get(&(name.to_owned(), String::new())).map(|series| series.value)
    }

    /// How high a signal of a node is, of each of its items.
    pub(crate) fn items(&self, node: &str, name: &str) -> impl Iterator<Item = (&str, u64)> {
        let known = self.nodes.get(node).into_iter().flat_map(|node| &node.series);
        let of_name = known.filter(move |((known, _), _)| known == name);
        of_name.map(|((_, item), series)| (item.as_str(), series.value))
    }

    /// By how much a counter has risen within a time, of all its items that have.
    pub(crate) fn steps(&self, node: &str, name: &str, (from, to): (u64, u64)) -> Vec<Step> {
        let Some(known) = self.nodes.get(node) else { return Vec::new() };
        let of_name =
            known.series.range((name.to_owned(), String::new())..).take_while(|((known, _), _)| known == name);
        of_name
            .filter_map(|((_, item), series)| {
                let mut within = series.steps.iter().filter(|(at, ..)| (from..=to).contains(at));
                let &(_, before, first) = within.next()?;
                let after = within.next_back().map_or(first, |step| step.2);
                let signal = if item.is_empty() { name.to_owned() } else { format!("{name} {item}") };
                Some(Step { node: node.to_owned(), signal, before, after })
            })
            .collect()
    }

    /// By how much in all.
    pub(crate) fn rise(&self, node: &str, name: &str, within: (u64, u64)) -> u64 {
        self.steps(node, name, within)
            .iter()
            .fold(0, |sum, step| sum.saturating_add(step.after.saturating_sub(step.before)))
    }

    /// Nodes of which signals are known.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_is_told_of_its_time_alone_and_by_item() {
        let mut signals = Signals::default();
        for (now, value) in [(1_000, 5), (2_000, 5), (3_000, 9), (5_000, 12), (9_000, 12)] {
            signals.put(now, ("a", "ena.pps", "eth0"), value);
        }
        signals.put(3_000, ("a", "ena.ppsx", ""), 1);
        let step = |before, after| Step { node: "a".into(), signal: "ena.pps eth0".into(), before, after };
        assert_eq!(signals.steps("a", "ena.pps", (2_500, 6_000)), [step(5, 12)]);
        assert_eq!(signals.steps("a", "ena.pps", (4_000, 6_000)), [step(9, 12)]);
        assert_eq!(signals.steps("a", "ena.pps", (6_000, 9_000)), []);
        assert_eq!((signals.rise("a", "ena.pps", (0, 9_000)), signals.rise("b", "ena.pps", (0, 9_000))), (7, 0));
    }

    #[test]
    fn what_is_set_back_is_no_rise() {
        let mut signals = Signals::default();
        for (now, value) in [(1_000, 500), (2_000, 3), (3_000, 4)] {
            signals.put(now, ("a", "x", ""), value);
        }
        assert_eq!((signals.rise("a", "x", (0, 9_000)), signals.value("a", "x")), (1, Some(4)));
    }
}
