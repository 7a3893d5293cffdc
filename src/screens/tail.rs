//! The Tail screen: the last packets of a node, as lines.
//!
//! Owns which lines are kept, which of them the filter shows, and what waits for its capture to be shown. Pure.

use std::collections::VecDeque;

use super::{App, Screen, action::Action};
use crate::{
    model::{NodeName, Notice, TailLine, TailNews},
    session::{
        Effect, Permission,
        filter::TextFilter,
        node::{Asked, NodeState},
    },
};

/// Lines that are kept.
const MOST: usize = 2000;
/// Rows that a page key moves.
const PAGE: usize = 20;
/// What a filter can name.
pub(super) const FIELDS: &[&str] = &["packet", "interface"];

/// The screen's own state.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    /// Whose packets; `None` where none are read.
    pub node: Option<NodeName>,
    /// The last ones, oldest first.
    pub lines: VecDeque<TailLine>,
    /// How many there were.
    pub all: u64,
    /// Packets that the agent did not send, as there were too many.
    pub left_out: u64,
    /// Why no more come.
    pub ended: Option<String>,
    /// How many lines below the last one that is shown there are more; 0 stays with the newest.
    pub up: usize,
    /// The filter and its text.
    pub filter: (String, TextFilter),
    /// They are being read.
    is_on: bool,
    /// What is shown as soon as its capture runs.
    wanted: Option<Wanted>,
}

/// A node whose packets are to be shown once its capture runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    node: NodeName,
    /// Where the key was pressed: who has gone on is not called back.
    screen: Screen,
    /// The capture is begun for it, and is taken back with it.
    begun: bool,
}

impl Tail {
    fn shows(&self, line: &TailLine) -> bool {
        self.filter.1.shows(&[("packet", &line.text), ("interface", &line.interface)])
    }
}

impl App {
    /// Lines that the filter shows, oldest first.
    pub fn tail_lines(&self) -> Vec<&TailLine> {
        self.tail.lines.iter().filter(|line| self.tail.shows(line)).collect()
    }

    /// Shows the packets of the node under the cursor. Where no capture runs one is started for it; the same key again
    /// takes that back.
    pub(super) fn open_tail(&mut self) -> Vec<Effect> {
        let of_row = match self.screen {
            Screen::Nodes => self.list.cursor.clone(),
            _ => self.targets().first().cloned(),
        };
        let Some(node) = of_row.or_else(|| self.tail.node.clone()) else {
            self.session.notify(Notice::warning("no packets to show", "no node selected", ""));
            return Vec::new();
        };
        if self.runs_capture(&node) {
            return vec![self.show_tail(node)];
        }
        let waits = self.session.nodes.get(&node).is_some_and(NodeState::is_to_start);
        if let Some(wanted) = self.tail.wanted.take_if(|wanted| wanted.node == node) {
            if wanted.begun && waits {
                return self.session.take_back(&[node]);
            }
            self.session.notify(Notice::info(format!("the packets of {node} are not shown")));
            return Vec::new();
        }
        if self.awaits_capture(&node) {
            self.session.notify(Notice::info(format!("the packets of {node} are shown once the capture is running")));
            self.tail.wanted = Some(Wanted { node, screen: self.screen.clone(), begun: false });
            return Vec::new();
        }
        // Elsewhere the chosen node is not on the screen.
        let seen = matches!(self.screen, Screen::Nodes | Screen::Node(_));
        if !seen || self.session.permission == Permission::ReadOnly {
            let cause = format!("no capture is running on {node}");
            let notice = Notice::warning("no packets to show", cause, "{capture} starts one from the node list");
            self.session.notify(notice.naming_keys());
            return Vec::new();
        }
        let able = self.session.startable(&[node]);
        let wanted = |node: &NodeName| Wanted { node: node.clone(), screen: self.screen.clone(), begun: true };
        self.tail.wanted = able.first().map(wanted);
        self.start_with_form(&able)
    }

    fn runs_capture(&self, node: &NodeName) -> bool {
        self.session.nodes.get(node).is_some_and(|state| state.agent.has_tunnel() && state.is_capturing())
    }

    /// A capture is to start there, or was asked for.
    fn awaits_capture(&self, node: &NodeName) -> bool {
        self.session.nodes.get(node).is_some_and(|state| state.is_to_start() || state.asked == Asked::Start)
    }

    fn show_tail(&mut self, node: NodeName) -> Effect {
        self.screen = Screen::Tail;
        let filter = std::mem::take(&mut self.tail.filter);
        self.tail = Tail { node: Some(node.clone()), filter, is_on: true, ..Tail::default() };
        Effect::Tail(node)
    }

    /// Shows what was waited for, once its capture runs. What hinders that was told.
    pub(super) fn tail_due(&mut self) -> Option<Effect> {
        let waits = |wanted: &Wanted| !self.layers.is_empty() || self.awaits_capture(&wanted.node);
        if self.tail.wanted.as_ref().is_none_or(waits) {
            return None;
        }
        let wanted = self.tail.wanted.take().filter(|wanted| self.runs_capture(&wanted.node))?;
        if self.screen == wanted.screen && !self.is_paused() {
            return Some(self.show_tail(wanted.node));
        }
        let mut notice = Notice::info(format!("the capture on {} is running", wanted.node));
        "{tail} shows its packets".clone_into(&mut notice.next_step);
        self.session.notify(notice.naming_keys());
        None
    }

    /// Packets that have come, or why none do any more.
    pub(super) fn tail_news(&mut self, node: &NodeName, news: TailNews) {
        if !self.tail.is_on || self.tail.node.as_ref() != Some(node) {
            return;
        }
        match news {
            TailNews::Lines { lines, left_out } => {
                self.tail.left_out += left_out;
                self.tail.all += lines.len() as u64;
                let new = lines.iter().filter(|line| self.tail.shows(line)).count();
                self.tail.lines.extend(lines);
                let over = self.tail.lines.len().saturating_sub(MOST);
                self.tail.lines.drain(..over);
                if self.tail.up > 0 {
                    // What is read stays where it is.
                    self.move_in_tail(|up| up + new);
                }
            }
            TailNews::Ended(why) => {
                self.tail.ended = Some(why);
                self.tail.is_on = false;
            }
        }
    }

    /// Nobody looks any more.
    pub(super) fn end_tail_unseen(&mut self) -> Option<Effect> {
        (self.tail.is_on && self.screen != Screen::Tail).then(|| {
            self.tail.is_on = false;
            Effect::EndTail
        })
    }

    fn move_in_tail(&mut self, to: impl Fn(usize) -> usize) {
        let most = self.tail_lines().len().saturating_sub(1);
        self.tail.up = to(self.tail.up).min(most);
    }

    /// A key on the Tail screen; `None` when it means what it means everywhere.
    pub(super) fn tail_key(&mut self, action: Action) -> Option<Vec<Effect>> {
        match action {
            Action::Up => self.move_in_tail(|up| up + 1),
            Action::Down => self.move_in_tail(|up| up.saturating_sub(1)),
            Action::PageUp => self.move_in_tail(|up| up + PAGE),
            Action::PageDown => self.move_in_tail(|up| up.saturating_sub(PAGE)),
            Action::Top => self.move_in_tail(|_| usize::MAX),
            Action::Bottom => self.tail.up = 0,
            Action::Back if !self.tail.filter.0.is_empty() => self.tail.filter = <(String, TextFilter)>::default(),
            Action::Back => self.screen = Screen::Nodes,
            _ => return None,
        }
        Some(Vec::new())
    }
}
