//! One node: its views, and the files in its own view.
//!
//! Owns what the node's keys mean. Pure.

use nodewatch_protocol::{CaptureFile, FileState};

use super::{App, Screen, View, action::Action};
use crate::{
    model::Notice,
    session::{Effect, node::NodeState},
};

impl App {
    /// A key on a node.
    pub(super) fn node_key(&mut self, action: Action) -> Vec<Effect> {
        let in_files = self.view == View::Files;
        match action {
            Action::Back if self.layout.window.is_some() => self.layout.window = None,
            Action::Back => {
                self.screen = Screen::Nodes;
                self.scroll = 0;
                self.settle_cursor();
            }
            Action::Up if in_files => self.move_in_node_files(|at| at.saturating_sub(1)),
            Action::Down if in_files => self.move_in_node_files(|at| at + 1),
            Action::Top if in_files => self.move_in_node_files(|_| 0),
            Action::Bottom if in_files => self.move_in_node_files(|_| usize::MAX),
            Action::PageUp if in_files => self.move_in_node_files(|at| at.saturating_sub(10)),
            Action::PageDown if in_files => self.move_in_node_files(|at| at + 10),
            Action::Open if in_files => return self.fetch_selected(),
            Action::Up => self.scroll = self.scroll.saturating_sub(1),
            Action::Down => self.scroll = self.scroll.saturating_add(1),
            Action::PageUp => self.scroll = self.scroll.saturating_sub(10),
            Action::PageDown => self.scroll = self.scroll.saturating_add(10),
            Action::Top => self.scroll = 0,
            Action::Bottom => self.scroll = usize::MAX / 2,
            _ => return self.common_key(action),
        }
        Vec::new()
    }

    /// Where the cursor of a node's own files is.
    pub fn node_file_place(&self, state: &NodeState) -> usize {
        self.file_cursor.place(&state.files, |file, name| file.name == *name)
    }

    /// The file under it.
    pub(super) fn node_file(&self) -> Option<&CaptureFile> {
        let state = self.current()?;
        state.files.get(self.node_file_place(state))
    }

    pub(super) fn move_in_node_files(&mut self, to: impl Fn(usize) -> usize) {
        let Some(state) = self.current() else { return };
        let at = to(self.node_file_place(state)).min(state.files.len().saturating_sub(1));
        let name = state.files.get(at).map(|file| file.name.clone());
        self.file_cursor.put(at, name);
    }

    pub(super) fn settle_node_files(&mut self) {
        let mut cursor = self.file_cursor.clone();
        if let Some(state) = self.current() {
            cursor.settle(&state.files, |file, name| file.name == *name, |file| file.name.clone());
        }
        self.file_cursor = cursor;
    }

    pub(super) fn fetch_selected(&mut self) -> Vec<Effect> {
        let Some(name) = self.current().map(|state| state.node.name.clone()) else { return Vec::new() };
        let Some(file) = self.node_file().cloned() else { return Vec::new() };
        if file.state == FileState::Open {
            self.session.notify(
                Notice::warning(format!("{} is still being written", file.name), "", "{capture} stops the capture")
                    .naming_keys(),
            );
            return Vec::new();
        }
        self.session.fetch_file(&name, file).into_iter().collect()
    }
}
