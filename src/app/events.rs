//! The Events screen: what happened on every node and what was told, newest first.
//!
//! Owns which events there are and which of them the filter shows. Pure.

use nodewatch_protocol::UnixMillis;

use super::{
    App, Screen,
    action::{Action, Effect},
    filter::TextFilter,
};
use crate::model::Severity;

/// What a filter can name.
pub(super) const FIELDS: &[&str] = &["node", "text"];
/// Rows that a page key moves.
const PAGE: usize = 20;

/// The screen's own state.
#[derive(Debug, Clone, Default)]
pub struct Events {
    /// The row under the cursor.
    pub cursor: usize,
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

impl App {
    /// What the screen shows, newest first.
    pub fn event_rows(&self) -> Vec<EventRow<'_>> {
        let of_nodes = self.nodes.iter().flat_map(|(name, state)| {
            let row = |event: &super::node::NodeEvent| EventRow {
                at: event.at,
                node: &name.0,
                severity: Severity::Info,
                text: event.text.clone(),
            };
            state.events.iter().map(row)
        });
        let told = self.notices.iter().map(|(at, notice)| EventRow {
            at: *at,
            node: "",
            severity: notice.severity,
            text: notice.fact(),
        });
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
        let last = self.event_rows().len().saturating_sub(1);
        let cursor = &mut self.events.cursor;
        *cursor = (*cursor).min(last);
        match action {
            Action::Up => *cursor = cursor.saturating_sub(1),
            Action::Down => *cursor = (*cursor + 1).min(last),
            Action::PageUp => *cursor = cursor.saturating_sub(PAGE),
            Action::PageDown => *cursor = (*cursor + PAGE).min(last),
            Action::Top => *cursor = 0,
            Action::Bottom => *cursor = last,
            Action::Back if !self.events.filter.0.is_empty() => self.events.filter = <(String, TextFilter)>::default(),
            Action::Back if self.layout.faults_only => self.layout.faults_only = false,
            Action::Back => self.screen = Screen::Nodes,
            Action::Open => {
                let node = self.event_rows().get(self.events.cursor).map(|row| row.node.into());
                if let Some(name) = node.filter(|name| self.nodes.contains_key(name)) {
                    self.cursor = Some(name);
                    self.screen = self.cursor.clone().map_or(Screen::Nodes, Screen::Node);
                }
            }
            _ => return None,
        }
        Some(Vec::new())
    }
}
