//! What nodes have told of their last seconds: how much of each was left out.
//!
//! Owns whether something that was not told would have been. Pure, in bounded memory.

use std::collections::{BTreeMap, VecDeque};

use crate::Told;

/// Milliseconds that are kept, and seconds of a node.
const KEPT: u64 = 100_000;
const MOST: usize = 128;
/// Nodes.
const MOST_NODES: usize = 20_000;
/// So far from a moment, in milliseconds, a second may lie and still have told of it.
const NEAR: u64 = 1_000;

#[derive(Debug, Clone, Copy)]
struct Second {
    from: u64,
    to: u64,
    /// Cases had no room.
    crowded: bool,
    /// Of attempts that were answered all are told up to that number.
    answered_to: u32,
}

/// Of all nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seconds(BTreeMap<String, VecDeque<Second>>);

impl Seconds {
    /// A second was told.
    pub(crate) fn put(&mut self, told: &Told) {
        if !self.0.contains_key(&told.node) {
            if self.0.len() >= MOST_NODES {
                self.0.retain(|_, seconds| seconds.back().is_some_and(|it| it.to.saturating_add(KEPT) >= told.at));
            }
            if self.0.len() >= MOST_NODES {
                return;
            }
            self.0.insert(told.node.clone(), VecDeque::new());
        }
        let Some(seconds) = self.0.get_mut(&told.node) else { return };
        seconds.push_back(Second {
            from: told.at.saturating_sub(told.millis),
            to: told.at,
            crowded: told.crowded,
            answered_to: told.answered_to,
        });
        while seconds.len() > MOST || seconds.front().is_some_and(|it| it.to.saturating_add(KEPT) < told.at) {
            seconds.pop_front();
        }
    }

    fn within(&self, node: &str, from: u64, to: u64) -> impl Iterator<Item = &Second> {
        let seconds = self.0.get(node).into_iter().flatten();
        seconds.filter(move |it| it.to >= from && it.from <= to)
    }

    /// Between these moments cases of the node had no room.
    pub(crate) fn is_crowded(&self, node: &str, from: u64, to: u64) -> bool {
        self.within(node, from, to).any(|it| it.crowded)
    }

    /// Of an attempt with that number, which was answered at that moment, the node has told if it has seen it.
    pub(crate) fn tells(&self, node: &str, lot: u32, moment: u64) -> bool {
        let mut near = self.within(node, moment.saturating_sub(NEAR), moment.saturating_add(NEAR)).peekable();
        near.peek().is_some() && near.all(|it| lot <= it.answered_to)
    }

    /// All of it is of another time.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
