//! What the API server says of the cluster, for the answers: when it is heard, and what it changes.
//!
//! Owns that it is heard only while something is watched: lists of all pods are long. Nodes are heard anyway. Pure.

use nodewatch_answers::{News, Source};
use nodewatch_protocol::UnixMillis;

use super::{Effect, Session, node::NodeState};
use crate::model::NodesChange;

/// It is heard for so much longer, in milliseconds: what is watched anew a moment later needs no new lists.
const LINGERS: UnixMillis = 30_000;
/// What is heard only then.
const WHILE_WATCHED: [Source; 4] = [Source::Pods, Source::Endpoints, Source::Services, Source::Policies];

impl Session {
    /// Begins to hear the API server once something is watched, and stops some time after nothing is.
    pub(super) fn hearing_due(&mut self) -> Option<Effect> {
        let now = self.now;
        let watched = |state: &NodeState| state.is_analysing(now) || state.is_to_watch();
        let hears = self.answers.hears_until.is_some();
        // Whoever leaves may think better of it, and what was heard until then is not to be missed in what is written down.
        let ends = self.is_removing();
        if !ends && (self.nodes.values().any(watched) || (hears && self.is_leaving())) {
            self.answers.hears_until = Some(now + LINGERS);
            return (!hears).then_some(Effect::HearChanges(true));
        }
        if self.answers.hears_until.is_none_or(|until| now < until && !ends) {
            return None;
        }
        self.answers.hears_until = None;
        if !ends {
            for source in WHILE_WATCHED {
                self.answers.engine.journal.is_deaf(source);
            }
        }
        Some(Effect::HearChanges(false))
    }

    /// The API server has said something.
    pub(super) fn hear_changes(&mut self, news: Vec<News>) {
        // Some may still come after it was to stop.
        if self.answers.hears_until.is_some() {
            let wall = self.wall(self.now);
            for news in news {
                self.answers.engine.journal.take_in(wall, news);
            }
        }
    }

    /// The same of nodes, before it is taken in.
    pub(super) fn hear_nodes(&mut self, change: &NodesChange) {
        let wall = self.wall(self.now);
        let journal = &mut self.answers.engine.journal;
        match change {
            NodesChange::Replaced(nodes) => {
                journal.lists(Source::Nodes);
                for node in nodes {
                    journal.node(&node.name.0, &node.addresses);
                }
                return journal.listed(wall, Source::Nodes);
            }
            NodesChange::Applied(node) => journal.node(&node.name.0, &node.addresses),
            NodesChange::Gone(name) => journal.node_gone(&name.0),
            NodesChange::Failed(_) => return journal.is_deaf(Source::Nodes),
            NodesChange::Told(_) => return,
        }
        journal.hears(Source::Nodes, wall);
    }
}
