//! Moving through the list of nodes: cursor, marks, ranges.
//!
//! Owns what these keys mean. Pure.

use super::{App, action::Action};
use crate::model::NodeName;

/// Rows that a page key moves.
const PAGE: isize = 10;

impl App {
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
            Action::MarkAll => self.marks = self.shown().map(|state| state.node.name.clone()).collect(),
            Action::ClearMarks => self.marks.clear(),
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
            self.file_cursor = 0;
        }
        self.cursor = next;
    }

    /// Keeps the cursor on a node that is shown.
    pub(super) fn settle_cursor(&mut self) {
        let shown = self.cursor.as_ref().is_some_and(|cursor| self.shown().any(|state| state.node.name == *cursor));
        if !shown {
            // The next one in order takes the place of one that went.
            let next = self.shown().find(|state| Some(&state.node.name) > self.cursor.as_ref()).or(self.shown().last());
            self.cursor = next.map(|state| state.node.name.clone());
        }
    }

    fn mark_range(&mut self) {
        let (Some(from), Some(to)) = (self.mark_anchor.clone(), self.cursor.clone()) else { return };
        let (low, high) = if from <= to { (from, to) } else { (to, from) };
        let range: Vec<NodeName> =
            self.shown().map(|state| state.node.name.clone()).filter(|name| (&low..=&high).contains(&name)).collect();
        self.marks.extend(range);
    }
}
