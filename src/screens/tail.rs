//! The Tail screen: the last packets of a node, as lines.
//!
//! Owns which lines are kept and which of them the filter shows. Pure.

use std::collections::VecDeque;

use super::{App, Screen, action::Action};
use crate::{
    model::{NodeName, Notice, TailLine, TailNews},
    session::{Effect, filter::TextFilter},
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

    /// Shows the packets of the node under the cursor.
    pub(super) fn open_tail(&mut self) -> Vec<Effect> {
        let node = self.targets().first().cloned().or_else(|| self.tail.node.clone());
        let Some(node) = node else {
            self.session.notify(Notice::warning("no packets to show", "no node selected", ""));
            return Vec::new();
        };
        let runs = self.session.nodes.get(&node).is_some_and(|state| state.agent.has_tunnel() && state.is_capturing());
        if !runs {
            let cause = format!("no capture is running on {node}");
            self.session.notify(Notice::warning("no packets to show", cause, "{capture} starts one").naming_keys());
            return Vec::new();
        }
        self.screen = Screen::Tail;
        let filter = std::mem::take(&mut self.tail.filter);
        self.tail = Tail { node: Some(node.clone()), filter, is_on: true, ..Tail::default() };
        vec![Effect::Tail(node)]
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
