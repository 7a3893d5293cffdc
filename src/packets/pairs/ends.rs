//! What is known of two addresses: which nodes have shared packets between them, how far apart these came, and what one
//! node alone has of them.
//!
//! Owns the estimate of clocks. A delay is in every difference; with both directions it cancels out.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
};

use super::{
    Identity,
    said::{Clock, Conversation, Paired},
};

/// Pairs of addresses that are known.
const MOST: usize = 65_536;
/// Differences that are kept of each direction.
const SAMPLES: usize = 64;
/// Conversations of one node that are told.
const TOLD: usize = 1000;

type Pair = (IpAddr, IpAddr);

/// Packets in one direction.
#[derive(Default)]
struct Direction {
    count: u64,
    /// The later node's time less the earlier node's, by their numbers.
    recent: VecDeque<i64>,
}

#[derive(Default)]
struct Known {
    nodes: Vec<usize>,
    /// Of the two nodes that were seen first: their numbers, and both directions.
    between: Option<(usize, usize)>,
    directions: [Direction; 2],
    /// By node: packets that it alone has.
    alone: BTreeMap<usize, u64>,
    /// Datagrams are split or joined on the way.
    split: bool,
}

/// All pairs of addresses.
#[derive(Default)]
pub(super) struct Ends {
    known: HashMap<Pair, Known>,
    more: u64,
}

fn pair(identity: &Identity) -> (Pair, usize) {
    let (source, destination) = (identity.source, identity.destination);
    if source <= destination { ((source, destination), 0) } else { ((destination, source), 1) }
}

impl Ends {
    fn entry(&mut self, pair: Pair) -> Option<&mut Known> {
        if self.known.len() >= MOST && !self.known.contains_key(&pair) {
            self.more += 1;
            return None;
        }
        Some(self.known.entry(pair).or_default())
    }

    /// How much later a node usually sees a packet than another, which is asked for by its number.
    pub(super) fn usual(&self, identity: &Identity, node: usize) -> impl Fn(usize) -> i64 + use<> {
        let (pair, direction) = pair(identity);
        let known =
            self.known.get(&pair).and_then(|known| Some((known.between?, *known.directions[direction].recent.back()?)));
        move |other| match known {
            Some(((a, b), apart)) if (a, b) == (other, node) => apart,
            Some(((a, b), apart)) if (a, b) == (node, other) => -apart,
            _ => 0,
        }
    }

    /// Two nodes have seen the same packet at these times.
    pub(super) fn matched(&mut self, identity: &Identity, first: (usize, i64), second: (usize, i64)) {
        let (pair, direction) = pair(identity);
        let Some(known) = self.entry(pair) else { return };
        for (node, _) in [first, second] {
            if !known.nodes.contains(&node) {
                known.nodes.push(node);
            }
        }
        let (a, b) = if first.0 < second.0 { (first, second) } else { (second, first) };
        if *known.between.get_or_insert((a.0, b.0)) == (a.0, b.0) {
            let direction = &mut known.directions[direction];
            direction.count += 1;
            if direction.recent.len() == SAMPLES {
                direction.recent.pop_front();
            }
            direction.recent.push_back(b.1.saturating_sub(a.1));
        }
    }

    /// Nodes that have shared packets of these two addresses.
    pub(super) fn nodes(&self, identity: &Identity) -> Vec<usize> {
        self.known.get(&pair(identity).0).map(|known| known.nodes.clone()).unwrap_or_default()
    }

    /// One node alone has a packet of these.
    pub(super) fn alone(&mut self, identity: &Identity, node: usize) {
        if let Some(known) = self.entry(pair(identity).0) {
            *known.alone.entry(node).or_default() += 1;
        }
    }

    /// Whether datagrams between these are split or joined, as one that is too long for the wire shows.
    pub(super) fn is_split(&mut self, identity: &Identity, seen: bool) -> bool {
        let Some(known) = self.entry(pair(identity).0) else { return seen };
        known.split |= seen;
        known.split
    }

    /// What is said in the end.
    pub(super) fn into_said(self, nodes: &[String], paired: &mut Paired) {
        let name = |node: usize| nodes.get(node).cloned().unwrap_or_default();
        let mut best: BTreeMap<(usize, usize), (u64, u64, &Known)> = BTreeMap::new();
        for known in self.known.values() {
            let Some(between) = known.between else { continue };
            let [one, other] = &known.directions;
            let (both, all) = (one.count.min(other.count), one.count + other.count);
            let entry = best.entry(between).or_insert((both, 0, known));
            entry.1 += all;
            if both > entry.0 {
                (entry.0, entry.2) = (both, known);
            }
        }
        paired.clocks = best
            .into_iter()
            .map(|((a, b), (_, matches, known))| {
                let [one, other] = [&known.directions[0], &known.directions[1]].map(median);
                let (ahead, delay) = match (one, other) {
                    (Some(one), Some(other)) => (i64::midpoint(one, other), Some(one.abs_diff(other) / 2)),
                    (one, other) => (one.or(other).unwrap_or(0), None),
                };
                Clock { of: name(b), against: name(a), ahead, delay, matches }
            })
            .collect();
        let mut alone: Vec<Conversation> = Vec::new();
        for ((a, b), known) in &self.known {
            // Where others have shared some it was said of each packet.
            for (node, packets) in known.alone.iter().filter(|_| known.nodes.is_empty()) {
                alone.push(Conversation { node: name(*node), between: (*a, *b), packets: *packets });
            }
        }
        alone.sort_by(|one, other| (other.packets, one.between).cmp(&(one.packets, other.between)));
        paired.more_conversations = alone.len().saturating_sub(TOLD) as u64 + self.more;
        alone.truncate(TOLD);
        paired.conversations = alone;
    }
}

fn median(direction: &Direction) -> Option<i64> {
    let mut all: Vec<i64> = direction.recent.iter().copied().collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}

/// Another node captured then, so that it says something that only this one has it. Where there is no other, nothing
/// else can be said.
pub(super) fn may_say(nodes: &[String], node: usize, captured: impl Fn(&str) -> bool) -> bool {
    let mut others = nodes.iter().enumerate().filter(|(other, _)| *other != node).peekable();
    others.peek().is_none() || others.any(|(_, name)| captured(name))
}
