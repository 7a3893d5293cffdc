//! The Events screen: what happened on every node and what was told, newest first.
//!
//! Owns which events there are and which of them the filter shows. Pure.

use nodewatch_protocol::UnixMillis;

use super::{
    App, Screen,
    action::Action,
    cursor::{Cursor, EventKey},
};
use crate::{
    model::Severity,
    session::{Effect, filter::TextFilter, node::NodeEvent},
};

/// What a filter can name.
pub(super) const FIELDS: &[&str] = &["node", "text"];
/// Rows that a page key moves.
const PAGE: usize = 20;

/// The screen's own state.
#[derive(Debug, Clone, Default)]
pub struct Events {
    /// The event under the cursor; the newest, as long as it was not moved.
    pub cursor: Cursor<EventKey>,
    /// The filter and its text.
    pub filter: (String, TextFilter),
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow<'a> {
    /// When, by the laptop's clock.
    pub at: UnixMillis,
    /// The node; empty where it is none's.
    pub node: &'a str,
    /// How grave it is.
    pub severity: Severity,
    /// What.
    pub text: String,
}

impl EventRow<'_> {
    /// Which event it is.
    pub fn key(&self) -> EventKey {
        EventKey { at: self.at, node: self.node.to_owned(), text: self.text.clone() }
    }

    fn is(&self, key: &EventKey) -> bool {
        self.at == key.at && self.node == key.node && self.text == key.text
    }
}

impl App {
    /// Where the cursor is among the rows that are shown.
    pub fn event_place(&self, rows: &[EventRow<'_>]) -> usize {
        self.events.cursor.place(rows, EventRow::is)
    }

    /// The event under the cursor.
    pub(super) fn event_under_cursor(&self) -> Option<EventRow<'_>> {
        let mut rows = self.event_rows();
        let at = self.event_place(&rows);
        (at < rows.len()).then(|| rows.swap_remove(at))
    }

    /// The next event takes the place of one that is forgotten.
    pub(super) fn settle_events(&mut self) {
        let mut cursor = self.events.cursor.clone();
        cursor.settle(&self.event_rows(), EventRow::is, EventRow::key);
        self.events.cursor = cursor;
    }

    fn move_in_events(&mut self, to: impl Fn(usize) -> usize) {
        let rows = self.event_rows();
        let at = to(self.event_place(&rows)).min(rows.len().saturating_sub(1));
        let key = rows.get(at).map(EventRow::key);
        // On the newest it stays on the newest.
        self.events.cursor.put(at, key.filter(|_| at > 0));
    }

    /// What the screen shows, newest first.
    pub fn event_rows(&self) -> Vec<EventRow<'_>> {
        let of_nodes = self.session.nodes.iter().flat_map(|(name, state)| {
            let row = |event: &NodeEvent| EventRow {
                at: event.at,
                node: &name.0,
                severity: event.severity,
                text: event.text.clone(),
            };
            state.log.events.iter().map(row)
        });
        let happened = self.session.notices.iter().filter(|(_, notice)| !notice.passing);
        let told =
            happened.map(|(at, notice)| EventRow { at: *at, node: "", severity: notice.severity, text: notice.fact() });
        let filter = &self.events.filter.1;
        let faulty = |row: &EventRow<'_>| !self.layout.faults_only || row.severity != Severity::Info;
        let mut rows: Vec<EventRow<'_>> = of_nodes
            .chain(told)
            .filter(|row| faulty(row) && filter.shows(&[("node", row.node), ("text", &row.text)]))
            .collect();
        rows.sort_by(|a, b| (b.at, a.node, &a.text).cmp(&(a.at, b.node, &b.text)));
        rows
    }

    /// A key on the Events screen; `None` when it means what it means everywhere.
    pub(super) fn events_key(&mut self, action: Action) -> Option<Vec<Effect>> {
        match action {
            Action::Up => self.move_in_events(|at| at.saturating_sub(1)),
            Action::Down => self.move_in_events(|at| at + 1),
            Action::PageUp => self.move_in_events(|at| at.saturating_sub(PAGE)),
            Action::PageDown => self.move_in_events(|at| at + PAGE),
            Action::Top => self.move_in_events(|_| 0),
            Action::Bottom => self.move_in_events(|_| usize::MAX),
            Action::Back if !self.events.filter.0.is_empty() => self.events.filter = <(String, TextFilter)>::default(),
            Action::Back if self.layout.faults_only => self.layout.faults_only = false,
            Action::Back => self.screen = Screen::Nodes,
            Action::Open => {
                let node = self.event_under_cursor().map(|row| row.node.into());
                if let Some(name) = node.filter(|name| self.session.nodes.contains_key(name)) {
                    self.list.cursor = Some(name);
                    self.screen = self.list.cursor.clone().map_or(Screen::Nodes, Screen::Node);
                }
            }
            _ => return None,
        }
        Some(Vec::new())
    }
}
