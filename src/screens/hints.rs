//! The keys that matter now, for the last line.
//!
//! Owns which of them, in which words and order: what can be done with what the cursor is on first, the ways to everything
//! else and out last. Pure.

use super::{App, Screen, View, action::Action, answers::AnswerRow, node::rows::Row, ports::Mode};
use crate::session::{
    Permission,
    files::FileRow,
    node::{Agent, Asked, NodeState},
};

/// An action, and in one or two words what it does now.
pub type Hint = (Action, &'static str);

impl App {
    /// What can be done now, the most telling first; the last two are help and the way out.
    pub fn hints(&self) -> Vec<Hint> {
        let mut hints = match &self.screen {
            Screen::Nodes => self.list_hints(),
            Screen::Node(_) => self.node_hints(),
            Screen::Files => self.file_hints(),
            Screen::Ports => self.port_hints(),
            Screen::Tail => vec![(Action::Pause, "hold still")],
            Screen::Pods => self.pod_hints(),
            Screen::Signals => {
                let into = (!self.signals.rows.is_empty()).then_some((Action::Open, "what it means"));
                into.into_iter().chain([(Action::Faults, "problems"), (Action::Copy, "copy")]).collect()
            }
            Screen::Connections => self.connection_hints(),
            Screen::Answers => self.answer_hints(),
            Screen::Events => vec![(Action::Open, "node"), (Action::Faults, "problems"), (Action::Copy, "copy")],
        };
        if self.screen != Screen::Nodes {
            hints.push((Action::Back, "back"));
        }
        if !(matches!(self.screen, Screen::Node(_)) && self.view == View::Capture) {
            hints.push((Action::Filter, "filter"));
        }
        hints.extend([(Action::Help, "help"), (Action::Quit, "quit")]);
        hints.retain(|(action, _)| !(self.session.permission == Permission::ReadOnly && action.changes_cluster()));
        hints
    }

    /// What agents and captures there are says what can be done with them.
    fn capture_hints(&self) -> Vec<Hint> {
        let targets = self.targets();
        let any = |so: fn(&NodeState) -> bool| targets.iter().any(|name| self.session.nodes.get(name).is_some_and(so));
        let all = |so: fn(&NodeState) -> bool| targets.iter().all(|name| self.session.nodes.get(name).is_some_and(so));
        let mut hints = Vec::new();
        let running = any(|state| state.agent.has_tunnel() && state.is_capturing() && state.asked != Asked::Stop);
        if any(NodeState::is_to_start) {
            hints.push((Action::Capture, "cancel"));
        } else if running {
            hints.extend([(Action::Capture, "stop"), (Action::Follow, "Wireshark"), (Action::Tail, "tail")]);
        } else if !targets.is_empty() {
            hints.extend([(Action::Capture, "capture"), (Action::CaptureOptions, "options")]);
        }
        hints.extend(self.watch_hints());
        if self.session.nodes.values().any(NodeState::has_recorder) {
            hints.push((Action::Freeze, "freeze"));
        }
        if !targets.is_empty() && !all(|state| state.agent.is_deployed() && !matches!(state.agent, Agent::Failed(_))) {
            hints.push((Action::Deploy, "deploy"));
        }
        hints
    }

    /// What the keys for watching and for answers do now.
    fn watch_hints(&self) -> Vec<Hint> {
        let states = || self.session.nodes.values();
        let mut targets = self.targets().into_iter().filter_map(|name| self.session.nodes.get(&name)).peekable();
        if targets.peek().is_none() {
            return Vec::new();
        }
        let is_meant = |state: &NodeState| state.is_to_watch() || state.is_watching();
        let (watched, not): (Vec<&NodeState>, Vec<&NodeState>) = targets.partition(|state| is_meant(state));
        let chooses = matches!(self.screen, Screen::Nodes | Screen::Node(_) | Screen::Pods);
        let watches = chooses && !not.is_empty() && self.session.permission != Permission::ReadOnly;
        let told = states().any(|state| state.seen.watch.heard().is_some());
        let hint = if watches { Some("watch") } else { (told || !watched.is_empty()).then_some("answers") };
        let stop = (!watched.is_empty()).then_some((Action::Watch, "unwatch"));
        hint.map(|hint| (Action::Answers, hint)).into_iter().chain(stop).collect()
    }

    fn answer_hints(&self) -> Vec<Hint> {
        let row = self.answer_row();
        let mut hints = Vec::new();
        match row.as_ref().map(AnswerRow::answer) {
            Some(Some(answer)) => {
                hints.push((Action::Open, "all of it"));
                if !answer.proof.is_empty() {
                    hints.push((Action::Follow, "packets"));
                }
                hints.push((Action::Copy, "copy what to do"));
                if answer.code.is_some() {
                    hints.push((Action::Silence, "silence"));
                }
            }
            Some(None) => hints.push((Action::Silence, "show again")),
            None => {}
        }
        hints.extend([(Action::Connections, "connections"), (Action::Report, "report"), (Action::Faults, "problems")]);
        hints
    }

    fn connection_hints(&self) -> Vec<Hint> {
        let mut hints = Vec::new();
        if !self.connections.rows.is_empty() {
            hints.extend([(Action::Open, "symptoms, packets"), (Action::Faults, "problems"), (Action::Copy, "copy")]);
        }
        hints.extend(self.watch_hints());
        hints
    }

    fn list_hints(&self) -> Vec<Hint> {
        let mut hints = self.capture_hints();
        if self.list.cursor.is_some() {
            hints.push((Action::Open, "node"));
        }
        if self.session.nodes.values().any(|state| state.agent.is_deployed()) {
            hints.extend([(Action::NextView, "view"), (Action::Files, "files"), (Action::Ports, "ports")]);
        }
        if self.session.nodes.len() > 1 {
            hints.push((Action::Mark, "mark"));
        }
        hints
    }

    fn node_hints(&self) -> Vec<Hint> {
        let into = match self.node_row() {
            Some(Row::File(row)) if row.can_be_fetched() => vec![(Action::Open, "fetch")],
            Some(Row::Port(_) | Row::Closed(_)) => vec![(Action::Open, "on all nodes"), (Action::Probe, "probe")],
            Some(Row::Flow(_)) => vec![(Action::Open, "capture it")],
            Some(Row::Signal(_)) => vec![(Action::Open, "what it means")],
            Some(Row::Pair(..)) => vec![(Action::Open, "symptoms, packets")],
            Some(Row::File(_) | Row::Event(_) | Row::Missing(_)) | None => Vec::new(),
        };
        let mut hints = if self.view == View::Capture { Vec::new() } else { into };
        hints.extend(self.capture_hints());
        hints.push((Action::NextView, "view"));
        hints
    }

    fn file_hints(&self) -> Vec<Hint> {
        let mut hints = Vec::new();
        let chosen = self.chosen_files();
        if chosen.iter().any(FileRow::can_be_fetched) {
            hints.push((Action::Open, "fetch"));
        }
        if self.file_under_cursor().is_some_and(|row| row.path().is_some() && !row.is_table()) {
            hints.push((Action::Follow, "open"));
        }
        if self.files.marks.len() > 1 {
            hints.push((Action::Merge, "merge"));
        }
        if !chosen.is_empty() {
            hints.extend([(Action::FetchAll, "fetch all"), (Action::Mark, "mark")]);
        }
        if chosen.iter().any(FileRow::has_address) {
            hints.push((Action::Copy, "copy path"));
        }
        if chosen.iter().any(FileRow::can_be_removed) {
            hints.push((Action::Remove, "delete"));
        }
        hints.push((Action::Files, "refresh"));
        hints
    }

    fn pod_hints(&self) -> Vec<Hint> {
        let Some(row) = self.pod_under_cursor() else { return Vec::new() };
        let capture = if row.aimed { "stop" } else { "capture" };
        let mut hints = vec![(Action::Capture, capture), (Action::CaptureOptions, "options"), (Action::Open, "node")];
        hints.extend(self.watch_hints());
        hints.push((Action::Copy, "copy"));
        hints
    }

    fn port_hints(&self) -> Vec<Hint> {
        let mut hints = Vec::new();
        if self.port_under_cursor().is_some() {
            if self.ports.mode == Mode::ByNode {
                hints.push((Action::Open, "node"));
            }
            hints.extend([(Action::Probe, "probe"), (Action::Exclude, "exclude")]);
        }
        hints.extend([(Action::NextView, "view"), (Action::Faults, "problems")]);
        if self.session.reports.is_some() {
            hints.push((Action::History, "history"));
        }
        hints
    }
}
