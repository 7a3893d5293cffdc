//! A node's signals as its agent tells them, with two minutes of history.
//!
//! Owns what has moved when, in steps of a few seconds, and whether that is out of the normal. Most signals never
//! move, and take no room for it. Pure.

use std::collections::{BTreeMap, VecDeque};

use nodewatch_protocol::{LONGEST_ITEM, MOST_SIGNALS, MissingSource, SignalSeries, SignalsUpdate, UnixMillis};
use nodewatch_signals::{Normal, SIGNALS, Seen, Signal, SignalId, WINDOW_SECONDS, find};

use super::dated::Dated;

/// Milliseconds of a step.
const STEP: u64 = 5_000;
/// Steps of history: 120 s.
pub const STEPS: usize = 24;
/// Steps that are judged.
const JUDGED: u64 = WINDOW_SECONDS * 1000 / STEP;

/// One signal of a node, or of one of its interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalState {
    /// Its place in the table.
    pub signal: SignalId,
    /// What of the node it is about; empty where it is the node.
    pub item: String,
    /// As the kernel has it.
    pub value: u64,
    /// Of a counter, what it rose by since the agent began.
    pub total: u64,
    /// The most that was seen.
    most: u64,
    /// By step, oldest first: what a counter rose by, where a gauge was at the end. Steps without a change are left
    /// out.
    steps: VecDeque<(u64, u64)>,
}

/// Every signal of a node.
#[derive(Debug, Clone, Default)]
pub struct NodeSignals {
    /// By the agent's numbers.
    pub series: BTreeMap<u32, SignalState>,
    /// Those that the node has once.
    once: BTreeMap<SignalId, u32>,
    /// Sources that it does not have.
    pub missing: Vec<MissingSource>,
    /// Signals that had no room.
    pub left_out: u64,
    /// When the agent told something last, by the laptop's clock.
    heard: UnixMillis,
    /// When that was read which was told last.
    dated: Dated,
    /// When the agent began to read, by its own clock.
    since: Option<UnixMillis>,
    /// The same by the laptop's.
    began: Option<UnixMillis>,
}

impl SignalState {
    fn new(signal: SignalId, told: &SignalSeries) -> Self {
        let SignalSeries { item, value, total, .. } = told.clone();
        Self { signal, item, value, total, most: value, steps: VecDeque::new() }
    }

    /// What is known of it.
    pub fn info(&self) -> &'static Signal {
        &SIGNALS[usize::from(self.signal)]
    }

    fn put(&mut self, now: UnixMillis, amount: u64) {
        let step = now / STEP;
        let counter = self.info().is_counter();
        match self.steps.back_mut() {
            Some((last, known)) if *last >= step => {
                *known = if counter { known.saturating_add(amount) } else { amount }
            }
            _ => self.steps.push_back((step, amount)),
        }
        while self.steps.len() > STEPS {
            self.steps.pop_front();
        }
    }

    fn rise(&mut self, now: UnixMillis, by: u64) {
        self.value = self.value.saturating_add(by);
        self.total = self.total.saturating_add(by);
        self.most = self.most.max(self.value);
        if by > 0 {
            self.put(now, by);
        }
    }

    fn set(&mut self, now: UnixMillis, value: u64) {
        if self.steps.is_empty() && value != self.value {
            // Where it was until now.
            self.steps.push_back((0, self.value));
        }
        self.value = value;
        self.most = self.most.max(value);
        self.put(now, value);
    }

    /// Whether it has moved in the last two minutes.
    pub fn has_moved(&self, now: UnixMillis) -> bool {
        self.steps.back().is_some_and(|(step, _)| *step > 0 && step + STEPS as u64 > now / STEP)
    }

    /// Of a counter, what it rose by in the last [`WINDOW_SECONDS`].
    pub fn moved(&self, now: UnixMillis) -> u64 {
        if !self.info().is_counter() {
            return 0;
        }
        let recent = self.steps.iter().rev().take_while(|(step, _)| step + JUDGED > now / STEP);
        recent.fold(0, |sum, (_, by)| sum.saturating_add(*by))
    }

    /// The last two minutes, the newest step last.
    pub fn points(&self, now: UnixMillis) -> [u64; STEPS] {
        let counter = self.info().is_counter();
        let newest = now / STEP;
        let mut points = [if counter { 0 } else { self.value }; STEPS];
        if counter {
            for (step, by) in &self.steps {
                let back = newest.saturating_sub(*step) as usize;
                if let Some(point) = (STEPS - 1).checked_sub(back).and_then(|at| points.get_mut(at)) {
                    *point = *by;
                }
            }
            return points;
        }
        let mut known = self.steps.iter().rev().peekable();
        for (back, point) in points.iter_mut().rev().enumerate() {
            // The last value that was set by then; before the first one it was no other.
            let until = newest.saturating_sub(back as u64);
            while known.peek().is_some_and(|(step, _)| *step > until) {
                known.next();
            }
            let first = self.steps.front().map_or(self.value, |(_, value)| *value);
            *point = known.peek().map_or(first, |(_, value)| *value);
        }
        points
    }
}

impl NodeSignals {
    /// Takes in what the agent tells.
    pub(super) fn apply(&mut self, update: SignalsUpdate, now: UnixMillis) {
        self.heard = now;
        let heard = now;
        // It may have waited in the tunnel.
        let now = self.dated.date(update.at, 0, now);
        let anew = update.since.is_some_and(|since| self.since != Some(since));
        let mut before = None;
        if let Some(since) = update.since {
            // Counters of the same beginning have risen meanwhile; of another nothing is known.
            let known = std::mem::take(&mut self.series);
            before = Some(if anew { BTreeMap::new() } else { known });
            self.once.clear();
            self.since = Some(since);
            if anew {
                self.began = Some(heard.saturating_sub(update.at.saturating_sub(since)));
            }
        }
        for told in &update.told {
            let Some((signal, info)) = find(&told.name) else { continue };
            let full = self.series.len() >= MOST_SIGNALS && !self.series.contains_key(&told.id);
            if full || told.item.len() > LONGEST_ITEM {
                continue;
            }
            let known = match &mut before {
                Some(before) => before.remove(&told.id),
                None => self.series.remove(&told.id),
            };
            let known = known.filter(|known| known.signal == signal && known.item == told.item);
            let mut state = known.unwrap_or_else(|| SignalState {
                total: if anew { told.total } else { 0 },
                ..SignalState::new(signal, told)
            });
            if info.is_counter() {
                state.rise(now, told.total.saturating_sub(state.total));
                (state.value, state.total) = (told.value, told.total);
            } else if state.value != told.value {
                state.set(now, told.value);
            }
            if !info.scope.has_items() {
                self.once.insert(signal, told.id);
            }
            self.series.insert(told.id, state);
        }
        for (id, moved) in update.moved {
            match self.series.get_mut(&id) {
                Some(state) if state.info().is_counter() => state.rise(now, moved),
                Some(state) => state.set(now, moved),
                None => {}
            }
        }
        for id in update.gone {
            self.series.remove(&id);
            self.once.retain(|_, known| *known != id);
        }
        if let Some(missing) = update.missing {
            self.missing = missing;
        }
        self.left_out = update.left_out;
    }

    /// A tunnel is up, which brings nothing old.
    pub(in crate::session) fn comes_up(&mut self) {
        self.dated = Dated::default();
    }

    /// Whether the agent has told any.
    pub fn is_known(&self) -> bool {
        self.since.is_some()
    }

    /// When its counters began, by the laptop's clock.
    pub fn began(&self) -> Option<UnixMillis> {
        self.began
    }

    /// The signal of that name that the node has once.
    fn of_node(&self, name: &str) -> Option<&SignalState> {
        let (signal, _) = find(name)?;
        self.series.get(self.once.get(&signal)?)
    }

    /// Whether it is out of the normal.
    pub fn is_out(&self, state: &SignalState, now: UnixMillis) -> bool {
        let info = state.info();
        // Of an agent that says nothing any more nothing is known.
        if now.saturating_sub(self.heard) > WINDOW_SECONDS * 1000 {
            return false;
        }
        if matches!(info.normal, Normal::Informative) || (info.is_counter() && state.steps.is_empty()) {
            return false;
        }
        let other = info.normal.other().and_then(|name| self.of_node(name));
        let other = other.map(|other| if info.is_counter() { other.moved(now) } else { other.value });
        let seen = Seen { value: state.value, moved: state.moved(now), other, most: state.most };
        info.normal.is_broken_by(&seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = 1_000_000;

    fn told(id: u32, name: &str, item: &str, value: u64, total: u64) -> SignalSeries {
        SignalSeries { id, name: name.into(), item: item.into(), value, total }
    }

    fn whole(since: UnixMillis, told: Vec<SignalSeries>) -> SignalsUpdate {
        SignalsUpdate { since: Some(since), told, ..SignalsUpdate::default() }
    }

    fn moved(moved: &[(u32, u64)]) -> SignalsUpdate {
        SignalsUpdate { moved: moved.to_vec(), ..SignalsUpdate::default() }
    }

    #[test]
    fn what_rose_before_the_first_picture_is_no_news_and_what_rises_then_is() {
        let mut node = NodeSignals::default();
        node.apply(whole(1, vec![told(4, "tcp.listen_overflows", "", 50, 7)]), NOW);
        let now = |node: &NodeSignals, at| (node.series[&4].moved(at), node.is_out(&node.series[&4], at));
        assert_eq!(now(&node, NOW), (0, false));
        node.apply(moved(&[(4, 3)]), NOW + 1000);
        node.apply(moved(&[(4, 2)]), NOW + 9000);
        assert_eq!((node.series[&4].value, node.series[&4].total), (55, 12));
        assert_eq!(now(&node, NOW + 9000), (5, true));
        assert_eq!(node.series[&4].points(NOW + 9000)[STEPS - 2..], [3, 2]);
        assert_eq!(now(&node, NOW + 62_000), (2, true), "the first has ended more than a minute ago");
        assert!(node.series[&4].has_moved(NOW + 100_000));
        assert_eq!(now(&node, NOW + 130_000), (0, false), "nothing latches");
        assert!(!node.series[&4].has_moved(NOW + 130_000));
    }

    #[test]
    fn a_picture_of_the_same_beginning_tells_what_was_missed() {
        let mut node = NodeSignals::default();
        node.apply(whole(1, vec![told(4, "conntrack.drop", "", 50, 7), told(5, "udp.no_ports", "", 1, 0)]), NOW);
        node.apply(whole(1, vec![told(4, "conntrack.drop", "", 59, 16)]), NOW + 30_000);
        assert_eq!((node.series[&4].moved(NOW + 30_000), node.series[&4].value), (9, 59));
        assert!(!node.series.contains_key(&5), "what a whole picture lacks is gone");
        node.apply(whole(2, vec![told(4, "conntrack.drop", "", 60, 1)]), NOW + 31_000);
        assert_eq!(node.series[&4].moved(NOW + 31_000), 0, "another agent's counts say nothing of these");
    }

    #[test]
    fn a_counter_that_was_set_back_is_told_anew_and_goes_on() {
        let mut node = NodeSignals::default();
        node.apply(whole(1, vec![told(4, "link.tx_dropped", "eth0", 50, 7)]), NOW);
        let again = SignalsUpdate { told: vec![told(4, "link.tx_dropped", "eth0", 3, 10)], ..SignalsUpdate::default() };
        node.apply(again, NOW + 1000);
        assert_eq!((node.series[&4].value, node.series[&4].moved(NOW + 1000)), (3, 3));
        // One that counts for the first time is told then.
        let first = SignalsUpdate { told: vec![told(9, "link.tx_dropped", "eth1", 4, 4)], ..SignalsUpdate::default() };
        node.apply(first, NOW + 2000);
        assert_eq!(node.series[&9].moved(NOW + 2000), 4);
        node.apply(SignalsUpdate { gone: vec![9], ..SignalsUpdate::default() }, NOW + 3000);
        assert_eq!(node.series.len(), 1);
    }

    #[test]
    fn a_gauge_is_judged_by_another_one_and_its_course_has_no_holes() {
        let mut node = NodeSignals::default();
        let told = vec![told(0, "conntrack.count", "", 10, 0), told(1, "conntrack.max", "", 100, 0)];
        node.apply(whole(1, told), NOW);
        assert!(!node.is_out(&node.series[&0], NOW));
        node.apply(moved(&[(0, 80)]), NOW + 10_000);
        assert!(node.is_out(&node.series[&0], NOW + 10_000));
        let points = node.series[&0].points(NOW + 20_000);
        assert_eq!(points[STEPS - 5..], [10, 10, 80, 80, 80]);
        assert_eq!(points[0], 10);
        assert!(!node.is_out(&node.series[&0], NOW + 71_000), "nothing was heard for more than a minute");
        node.apply(moved(&[(0, 79)]), NOW + 21_000);
        assert!(!node.is_out(&node.series[&0], NOW + 21_000));
        node.apply(SignalsUpdate { gone: vec![1], ..SignalsUpdate::default() }, NOW + 22_000);
        node.apply(moved(&[(0, 99)]), NOW + 23_000);
        assert!(!node.is_out(&node.series[&0], NOW + 23_000), "what cannot be known is not claimed");
    }

    #[test]
    fn history_is_bounded_and_hostile_numbers_change_nothing() {
        let mut node = NodeSignals::default();
        node.apply(whole(1, vec![told(0, "tcp.out_segs", "", 1, 0), told(1, "nobody.knows", "", 1, 0)]), NOW);
        assert_eq!(node.series.len(), 1);
        for second in 0..1000 {
            node.apply(moved(&[(0, u64::MAX), (77, 1)]), NOW + second * 1000);
        }
        assert_eq!((node.series[&0].steps.len(), node.series[&0].value), (STEPS, u64::MAX));
        assert_eq!(node.series[&0].moved(NOW + 999_000), u64::MAX);
        let many = (0..MOST_SIGNALS as u32 + 9).map(|id| told(id, "link.tx_dropped", &format!("veth{id}"), 1, 0));
        node.apply(whole(1, many.chain([told(u32::MAX, "link.tx_dropped", &"x".repeat(200), 1, 0)]).collect()), NOW);
        assert_eq!(node.series.len(), MOST_SIGNALS);
    }
}
