//! Which nodes there are.
//!
//! Owns what a change of the cluster's list of nodes means. Pure.

use std::collections::BTreeSet;

use super::{Listing, Session, node::NodeState};
use crate::model::{Node, NodeName, NodesChange, Notice};

impl Session {
    pub(super) fn nodes_changed(&mut self, change: NodesChange) {
        match change {
            NodesChange::Replaced(nodes) => {
                self.listing = Listing::Current;
                let listed: Vec<NodeName> = nodes.iter().map(|node| node.name.clone()).collect();
                let gone: Vec<NodeName> = self.nodes.keys().filter(|name| !listed.contains(name)).cloned().collect();
                for name in gone {
                    self.node_gone(&name);
                }
                for node in nodes {
                    self.node_applied(node);
                }
            }
            NodesChange::Applied(node) => {
                self.list_lives();
                self.node_applied(node);
            }
            NodesChange::Gone(name) => {
                self.list_lives();
                self.node_gone(&name);
            }
            NodesChange::Told(notice) => self.notify(notice),
            NodesChange::Failed(notice) => {
                if !matches!(&self.listing, Listing::Stale(known) if *known == notice) {
                    self.notify(notice.clone());
                }
                self.listing = Listing::Stale(notice);
            }
        }
    }

    /// Chooses these nodes, and no others.
    pub(crate) fn mark(&mut self, names: BTreeSet<NodeName>) {
        self.marks = names;
    }

    /// Chooses a node, or does not choose it any more.
    pub(crate) fn toggle_mark(&mut self, name: &NodeName) {
        if !self.marks.remove(name) {
            self.marks.insert(name.clone());
        }
    }

    /// Any change that comes shows that the watch is up again.
    fn list_lives(&mut self) {
        if matches!(self.listing, Listing::Stale(_)) {
            self.listing = Listing::Current;
        }
    }

    fn node_applied(&mut self, node: Node) {
        let now = self.now;
        match self.nodes.get_mut(&node.name) {
            Some(state) => {
                if state.node.readiness != node.readiness {
                    state.note(now, format!("node is {}", node.readiness.word()));
                }
                state.node = node;
                state.present = true;
            }
            None => {
                self.nodes.insert(node.name.clone(), NodeState::new(node));
            }
        }
    }

    /// A node that had an agent stays on the screen with what was seen of it.
    fn node_gone(&mut self, name: &NodeName) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return };
        self.marks.remove(name);
        if state.agent.is_deployed() {
            state.present = false;
            state.note(now, "the node has left the cluster");
            let notice =
                Notice::warning(format!("node {name} has left the cluster"), "", "other nodes are not affected");
            self.notify(notice);
        } else {
            self.nodes.remove(name);
        }
    }
}
