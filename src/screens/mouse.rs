//! What the mouse points at: rows, tabs, a part of the chart.
//!
//! Owns what that does to the screen. Where things lie is the drawing's to say. Pure.

use super::{App, Screen, View, action::Pointed, cursor::RowKey, ports::Mode};

impl App {
    /// Puts the cursor on a row of the screen, where it is still there.
    fn put_cursor(&mut self, row: &RowKey) {
        match (row, &self.screen) {
            (RowKey::Node(name), Screen::Nodes) => {
                let there = self.shown().any(|state| state.node.name == *name);
                if there && self.list.cursor.as_ref() != Some(name) {
                    self.list.cursor = Some(name.clone());
                    self.scroll = 0;
                    self.tabs.forget_rows();
                }
            }
            (RowKey::File(key), Screen::Files) => {
                let at = self.file_rows().iter().position(|row| row.key == *key);
                if let Some(at) = at {
                    self.files.cursor.put(at, Some(key.clone()));
                }
            }
            (RowKey::Port(..) | RowKey::Group(_), Screen::Ports) => self.ports.put_on(row),
            (RowKey::Event(key), Screen::Events) => {
                let at = self.event_rows().iter().position(|row| row.key() == *key);
                if let Some(at) = at {
                    self.events.cursor.put(at, Some(key.clone()));
                }
            }
            (RowKey::Pod(name), Screen::Pods) => {
                let at = self.pod_rows().iter().position(|row| row.pod.name == *name);
                if let Some(at) = at {
                    self.pods.cursor.put(at, Some(name.clone()));
                }
            }
            (RowKey::Signal(name), Screen::Signals) => self.signals.put_on(name),
            (RowKey::Connection(node, key), Screen::Connections) => self.connections.put_on(node, key),
            (RowKey::Answer(key), Screen::Answers) => self.put_on_answer(key),
            (RowKey::NodeRow(id), Screen::Node(_)) => self.put_on_node_row(id),
            _ => {}
        }
    }

    /// The mouse was pointed at something of the screen.
    pub(super) fn pointed(&mut self, pointed: &Pointed) {
        match (pointed, &self.screen) {
            (Pointed::Row(row), _) => self.put_cursor(row),
            (Pointed::Tab(tab), Screen::Ports) => {
                self.ports.mode = Mode::ALL[(*tab).min(Mode::ALL.len() - 1)];
                self.ports.go_to_top();
                self.sift_ports();
            }
            (Pointed::Tab(tab), _) => {
                self.view = View::ALL[(*tab).min(View::ALL.len() - 1)];
                self.scroll = 0;
            }
            (Pointed::Window(from, to), _) => self.layout.window = Some((*from.min(to), *from.max(to))),
        }
    }
}
