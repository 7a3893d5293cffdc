//! How the packets of several nodes are shown in the viewer: as was chosen, or as the answer to a question says.
//!
//! Owns the choice, which holds for the whole session. Pure.

use std::collections::BTreeSet;

use super::{Effect, Session};
use crate::model::{NodeName, Sides};

/// The choice, and who waits for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Showing {
    /// What was answered.
    answer: Option<Sides>,
    /// Nodes whose captures wait for an answer.
    pub asked: Vec<NodeName>,
    /// Nodes whose captures are followed in the viewer as soon as they run.
    pub(super) to_follow: BTreeSet<NodeName>,
}

impl Session {
    /// Shows running captures, or asks first how.
    pub(crate) fn show(&mut self, nodes: Vec<NodeName>) -> Vec<Effect> {
        let sides = self.showing.answer.unwrap_or(self.terms.sides);
        match (nodes.len(), sides) {
            (0, _) => Vec::new(),
            (1, _) | (_, Sides::Together) => vec![Effect::Follow(nodes)],
            (_, Sides::Windows) => nodes.into_iter().map(|node| Effect::Follow(vec![node])).collect(),
            (_, Sides::Pair) => vec![Effect::FollowPairs(nodes)],
            (_, Sides::Ask) => {
                self.showing.asked = nodes;
                Vec::new()
            }
        }
    }

    /// The answer, or none.
    pub(crate) fn show_as(&mut self, answer: Option<Sides>) -> Vec<Effect> {
        let nodes = std::mem::take(&mut self.showing.asked);
        if answer.is_none() {
            return Vec::new();
        }
        self.showing.answer = answer;
        self.show(nodes)
    }
}
