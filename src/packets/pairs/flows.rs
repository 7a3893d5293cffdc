//! Bytes of TCP that nodes have in unequal segments: a network card or kernel has split or joined them.
//!
//! Owns which bytes of a connection a node has in packets that no other has, and whose segments are kept. Nothing of it
//! is loss.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
};

use crate::packets::{Headers, Transport};

/// Segments that may reach into one from before it.
const BEFORE: usize = 64;
/// What is remembered of packets that have gone on.
const REMEMBERED: usize = 400_000;

/// One direction of a connection.
type FlowKey = (IpAddr, IpAddr, u16, u16);

#[derive(Default)]
struct Flow {
    /// The number that others are counted from.
    base: u32,
    /// By node: segments by where they begin and by packet, and where each ends.
    loose: BTreeMap<usize, BTreeMap<(i64, u64), i64>>,
    /// Whose segments are kept.
    kept: Option<usize>,
}

struct Segment {
    key: FlowKey,
    node: usize,
    start: i64,
    end: i64,
}

/// What other nodes have of a packet's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Covered {
    /// Nothing.
    Not,
    /// So many bytes.
    InPart(usize, u64),
    /// All, in other segments.
    Wholly(usize),
    /// All, by the node whose segments are kept.
    ByKept,
}

/// All connections whose packets wait.
#[derive(Default)]
pub(super) struct Flows {
    by_key: HashMap<FlowKey, Flow>,
    /// By packet.
    segments: HashMap<u64, Segment>,
    /// Packets in the order in which they came, and since when they are done with.
    done: VecDeque<(u64, i64)>,
}

impl Flows {
    /// A packet that nobody else has so far.
    pub(super) fn add(&mut self, headers: &Headers<'_>, node: usize, number: u64) {
        let Transport::Tcp { ports, sequence, .. } = headers.transport else { return };
        if headers.length == 0 {
            return;
        }
        let key = (headers.source, headers.destination, ports.0, ports.1);
        let flow = self.by_key.entry(key).or_insert_with(|| Flow { base: sequence, ..Flow::default() });
        // Connections begin anywhere and go round.
        let start = i64::from(sequence.wrapping_sub(flow.base) as i32);
        let end = start + i64::from(headers.length);
        flow.loose.entry(node).or_default().insert((start, number), end);
        self.segments.insert(number, Segment { key, node, start, end });
    }

    /// Another node has the same.
    pub(super) fn matched(&mut self, number: u64) {
        self.remove(number);
    }

    fn remove(&mut self, number: u64) {
        let Some(Segment { key, node, start, .. }) = self.segments.remove(&number) else { return };
        let Some(flow) = self.by_key.get_mut(&key) else { return };
        if let Some(loose) = flow.loose.get_mut(&node) {
            loose.remove(&(start, number));
            if loose.is_empty() {
                flow.loose.remove(&node);
            }
        }
        if flow.loose.is_empty() {
            self.by_key.remove(&key);
        }
    }

    /// What others have of the bytes of a packet, and whose are kept from now on.
    pub(super) fn covered(&mut self, number: u64, node: usize) -> Covered {
        let Some(&Segment { key, start, end, .. }) = self.segments.get(&number) else { return Covered::Not };
        let Some(flow) = self.by_key.get_mut(&key) else { return Covered::Not };
        let most = flow.loose.iter().filter(|(other, _)| **other != node);
        let most = most.map(|(other, loose)| (seen(loose, start, end), *other)).max();
        match most {
            Some((bytes, other)) if bytes as i64 == end - start => {
                if *flow.kept.get_or_insert(node) == node {
                    Covered::Wholly(other)
                } else {
                    Covered::ByKept
                }
            }
            Some((bytes @ 1.., other)) => {
                flow.kept.get_or_insert(node);
                Covered::InPart(other, bytes)
            }
            _ => Covered::Not,
        }
    }

    /// A packet has gone on. What others may still have of its bytes is remembered for a while.
    pub(super) fn done_with(&mut self, number: u64, at: i64, within: i64) {
        if self.segments.contains_key(&number) {
            self.done.push_back((number, at));
        }
        while let Some(&(number, since)) = self.done.front()
            && (since.saturating_add(within) < at || self.done.len() > REMEMBERED)
        {
            self.done.pop_front();
            self.remove(number);
        }
    }
}

/// How many of these bytes are in segments.
fn seen(loose: &BTreeMap<(i64, u64), i64>, start: i64, end: i64) -> u64 {
    let before = loose.range(..(start, 0)).rev().take(BEFORE);
    let mut reach = before.map(|(_, end)| *end).max().unwrap_or(start).clamp(start, end);
    let mut bytes = reach - start;
    for (&(begins, _), &ends) in loose.range((start, 0)..(end, 0)) {
        let from = begins.max(reach);
        let to = ends.min(end);
        if to > from {
            bytes += to - from;
            reach = to;
        }
    }
    bytes as u64
}
