//! One node: its views, of which the one in front is what keys are about.
//!
//! Owns what the node's keys mean. Pure.

pub mod rows;

use nodewatch_protocol::{FileState, Flow};

use self::rows::{Row, endpoint, transport};
use super::{
    App, Screen, View,
    action::Action,
    connections::text_of,
    dialogs::Layer,
    files::no_fetch,
    ports::Mode,
    signals::{SignalView, amount_text},
};
use crate::{
    base::text,
    model::{Notice, PortKey},
    session::Effect,
};

/// Rows that a page key moves.
const PAGE: usize = 10;

impl App {
    /// A key on a node.
    pub(super) fn node_key(&mut self, action: Action) -> Vec<Effect> {
        let rows = self.view != View::Capture;
        match action {
            Action::Back if self.layout.window.is_some() => self.layout.window = None,
            Action::Back if !self.tabs.of(self.view).filter.is_empty() => {
                // Every view can be filtered by nothing.
                let _ = self.set_tab_filter("");
            }
            Action::Back if self.layout.faults_only => {
                self.layout.faults_only = false;
                self.sift_node_ports();
            }
            Action::Back => {
                self.screen = Screen::Nodes;
                self.scroll = 0;
                self.settle_cursor();
            }
            Action::Up if rows => self.move_in_node_rows(|at| at.saturating_sub(1)),
            Action::Down if rows => self.move_in_node_rows(|at| at + 1),
            Action::Top if rows => self.move_in_node_rows(|_| 0),
            Action::Bottom if rows => self.move_in_node_rows(|_| usize::MAX),
            Action::PageUp if rows => self.move_in_node_rows(|at| at.saturating_sub(PAGE)),
            Action::PageDown if rows => self.move_in_node_rows(|at| at + PAGE),
            Action::Faults => {
                self.layout.faults_only = !self.layout.faults_only;
                self.sift_node_ports();
            }
            Action::Sort(column) => {
                if !self.sort_tab(column) {
                    let headline = format!("{} cannot be sorted by {}", self.view.title(), column.word());
                    self.session.notify(Notice::info(headline));
                }
            }
            Action::Open => return self.open_node_row(),
            Action::Probe | Action::Exclude if self.view == View::Ports => return self.node_port_key(action),
            _ => return self.common_key(action),
        }
        Vec::new()
    }

    /// Goes into the row under the cursor.
    fn open_node_row(&mut self) -> Vec<Effect> {
        match self.node_row() {
            Some(Row::File(_)) => return self.fetch_selected(),
            Some(Row::Port(listed)) => {
                let port = listed.port.local.port();
                self.open_ports_of(port);
            }
            Some(Row::Closed(row)) => {
                let port = row.port.local.port();
                self.open_ports_of(port);
            }
            Some(Row::Flow(flow)) => {
                let filter = flow_filter(flow);
                self.open_form();
                if let Some(Layer::Form(form)) = self.layers.last_mut() {
                    form.give_filter(&filter);
                }
            }
            Some(Row::Signal(series)) => {
                let signal = series.signal;
                self.open_reading(Layer::Signal(SignalView { signal }));
            }
            Some(Row::Pair(key, ..)) => {
                let (node, key) = (self.current().map(|state| state.node.name.clone()), key.clone());
                if let Some(node) = node {
                    self.open_connection(node, key);
                }
            }
            Some(Row::Event(_) | Row::Missing(_)) | None => self.say_dead(Action::Open),
        }
        Vec::new()
    }

    /// That port on every node that has it.
    fn open_ports_of(&mut self, port: u16) {
        self.open_ports();
        self.ports.mode = Mode::ByNode;
        // A field and a number can always be read.
        let _ = self.set_filter(&format!("port:{port}"));
    }

    fn node_port_key(&mut self, action: Action) -> Vec<Effect> {
        let port = match self.node_row() {
            Some(Row::Port(listed)) => listed.port,
            Some(Row::Closed(row)) => row.port,
            _ => return Vec::new(),
        };
        let Some(name) = self.current().map(|state| state.node.name.clone()) else { return Vec::new() };
        if action == Action::Probe {
            return self.session.probe(name, port);
        }
        self.leave_out(PortKey::from(port));
        self.sift_node_ports();
        Vec::new()
    }

    /// What is copied of the row under the cursor.
    pub(super) fn node_row_text(&self) -> Option<String> {
        Some(match self.node_row()? {
            Row::Port(listed) if listed.socket => listed.port.to_string(),
            Row::Port(listed) => PortKey::from(listed.port).to_string(),
            Row::Closed(row) => row.port.to_string(),
            Row::Flow(flow) => {
                format!("{} {} {}", transport(flow.transport), endpoint(&flow.from), endpoint(&flow.to))
            }
            Row::File(row) => row.path().map_or_else(|| row.key.name.clone(), |path| path.display().to_string()),
            Row::Signal(series) => {
                let (info, item) = (series.info(), &series.item);
                let amount = if info.is_counter() { series.moved(self.session.now) } else { series.value };
                let item = if item.is_empty() { String::new() } else { format!(" {item}") };
                format!("{}{item} {}", info.name, amount_text(info, amount))
            }
            Row::Pair(key, pair, _) => text_of(&self.current()?.node.name, key, pair),
            Row::Missing(missing) => format!("{}: {}", missing.source, missing.reason),
            Row::Event(event) => format!("{} {}", text::rfc3339(self.session.wall(event.at)), event.text),
        })
    }

    pub(super) fn fetch_selected(&mut self) -> Vec<Effect> {
        let Some(name) = self.current().map(|state| state.node.name.clone()) else { return Vec::new() };
        let Some(Row::File(row)) = self.node_row() else { return Vec::new() };
        let (here, Some(file)) = (row.path().cloned(), row.on_node.cloned()) else { return Vec::new() };
        if let Some(path) = here {
            let path = text::visible(&path.display().to_string());
            self.session.notify(Notice::info(format!("nothing to fetch: it is here, {path}")).as_answer());
            return Vec::new();
        }
        if file.state == FileState::Open {
            self.session.notify(
                Notice::warning(format!("{} is still being written", file.name), "", "{capture} stops the capture")
                    .naming_keys(),
            );
            return Vec::new();
        }
        let known = no_fetch(&row);
        let effect = self.session.fetch_file(&name, file);
        if effect.is_none() {
            self.session.notify(known);
        }
        effect.into_iter().collect()
    }
}

/// Both directions of a flow, as a capture filter.
fn flow_filter(flow: &Flow) -> String {
    // The end that listens most often has the lower port, and keeps it when the other comes back with another one.
    let port = match flow.from.port.min(flow.to.port) {
        0 => String::new(),
        port => format!(" and port {port}"),
    };
    format!("host {} and host {}{port}", flow.from.address, flow.to.address)
}
