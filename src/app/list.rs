//! The list of nodes: which there are, cursor, marks, ranges.
//!
//! Owns what a change of the cluster's nodes and what the list's keys mean. Pure.

use super::{App, Listing, Screen, action::Action, cursor::Cursor, node::NodeState, sort::Order};
use crate::model::{Node, NodeName, NodesChange, Notice};

/// Rows that a page key moves.
const PAGE: isize = 10;
/// Columns that can be scrolled away.
const MOST_COLUMNS: usize = 12;

impl App {
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
        self.settle_cursor();
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
                    state.log(now, format!("node is {}", node.readiness.word()));
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
            state.log(now, "the node has left the cluster");
            let notice = Notice::warning(format!("node {name} has left the cluster"), "", "the others go on");
            self.notify(notice);
        } else {
            self.nodes.remove(name);
            if self.screen == Screen::Node(name.clone()) {
                self.screen = Screen::Nodes;
            }
        }
    }

    /// Moves the cursor, or marks. False when the action is another one.
    pub(super) fn move_in_list(&mut self, action: Action) -> bool {
        match action {
            Action::Up => self.move_cursor(-1),
            Action::Down => self.move_cursor(1),
            Action::PageUp => self.move_cursor(-PAGE),
            Action::PageDown => self.move_cursor(PAGE),
            Action::Top => self.move_cursor(isize::MIN),
            Action::Bottom => self.move_cursor(isize::MAX),
            Action::Mark => {
                if let Some(name) = self.cursor.clone() {
                    if !self.marks.remove(&name) {
                        self.marks.insert(name.clone());
                    }
                    self.mark_anchor = Some(name);
                    self.move_cursor(1);
                }
            }
            Action::MarkRange => self.mark_range(),
            Action::MarkAll => self.mark_all(),
            Action::ClearMarks => {
                self.marks.clear();
                self.forget_joining();
            }
            Action::Sort(column) => self.order = Some(Order::toggled(self.order, column)),
            Action::Left => self.layout.first_column = self.layout.first_column.saturating_sub(1),
            Action::Right => self.layout.first_column = (self.layout.first_column + 1).min(MOST_COLUMNS),
            Action::Wide => {
                self.layout.wide = !self.layout.wide;
                self.layout.first_column = 0;
            }
            _ => return false,
        }
        true
    }

    fn move_cursor(&mut self, by: isize) {
        let names: Vec<NodeName> = self.shown().map(|state| state.node.name.clone()).collect();
        let at = self.cursor.as_ref().and_then(|cursor| names.iter().position(|name| name == cursor));
        let last = names.len().saturating_sub(1);
        let next = at.map_or(0, |at| at.saturating_add_signed(by).min(last));
        let next = names.get(next).cloned();
        if next != self.cursor {
            self.scroll = 0;
            self.file_cursor = Cursor::default();
        }
        self.cursor = next;
    }

    /// Keeps the cursor on a node that is shown.
    pub(super) fn settle_cursor(&mut self) {
        // What fills the screen is what keys are about, whatever the list's filter says of it meanwhile.
        if matches!(&self.screen, Screen::Node(name) if self.nodes.contains_key(name)) {
            return;
        }
        let shown = self.cursor.as_ref().is_some_and(|cursor| self.shown().any(|state| state.node.name == *cursor));
        if !shown {
            // The next one by name takes the place of one that went.
            let after = self.shown().filter(|state| Some(&state.node.name) > self.cursor.as_ref());
            let next = after.min_by(|a, b| a.node.name.cmp(&b.node.name)).or(self.shown().last());
            self.cursor = next.map(|state| state.node.name.clone());
            self.file_cursor = Cursor::default();
        }
    }

    fn mark_range(&mut self) {
        let (Some(from), Some(to)) = (self.mark_anchor.clone(), self.cursor.clone()) else { return };
        let names: Vec<NodeName> = self.shown().map(|state| state.node.name.clone()).collect();
        let place = |wanted: &NodeName| names.iter().position(|name| name == wanted);
        if let (Some(from), Some(to)) = (place(&from), place(&to)) {
            self.marks.extend(names[from.min(to)..=from.max(to)].iter().cloned());
        }
    }
}
