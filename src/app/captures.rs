//! Captures and their files: starting, stopping, freezing, bringing home.
//!
//! Owns which nodes a key is about and what is asked of their agents. Pure.

use nodewatch_protocol::{CaptureFile, CaptureSpec, Content, FileState, Request, SinkState};

use super::{
    App, Confirm, Overlay, Permission, Screen,
    action::Effect,
    node::{Asked, Before, Frozen, NodeState},
};
use crate::model::{FetchProgress, NodeName, Notice};

impl App {
    /// Stops where captures run or are to start, otherwise starts with the remembered options.
    pub(super) fn toggle_capture(&mut self) -> Vec<Effect> {
        let targets = self.targets();
        let of = |so: fn(&NodeState) -> bool| -> Vec<NodeName> {
            targets.iter().filter(|name| self.nodes.get(*name).is_some_and(so)).cloned().collect()
        };
        let waiting = of(NodeState::is_to_start);
        let running = of(|state| state.agent.has_tunnel() && state.is_capturing() && state.asked != Asked::Stop);
        if !waiting.is_empty() {
            self.take_back(&waiting);
        }
        match running.len() {
            0 if waiting.is_empty() => {
                let able = self.startable(&targets);
                self.start_with_form(&able)
            }
            0 => Vec::new(),
            1 => self.stop_captures(running),
            _ => {
                self.overlay = Some(Overlay::Confirm(Confirm::StopCaptures(running)));
                Vec::new()
            }
        }
    }

    /// With the options as they were last; where they cannot be read any more the form is opened.
    fn start_with_form(&mut self, names: &[NodeName]) -> Vec<Effect> {
        if names.is_empty() {
            return Vec::new();
        }
        let mut form = self.form.clone();
        if let Some(spec) = form.submit(self.ring_bytes()) {
            return self.ask_start_captures(names, spec);
        }
        self.overlay = Some(Overlay::Form(Box::new(form)));
        Vec::new()
    }

    /// Opens the form, where a capture can ever be started.
    pub(super) fn open_form(&mut self) {
        let targets = self.targets();
        if targets.is_empty() {
            self.notify(Notice::warning("no capture was started", "no node is chosen", ""));
        } else if !self.able_to_run(&targets).is_empty() {
            self.overlay = Some(Overlay::Form(Box::new(self.form.clone())));
        }
    }

    pub(super) fn ring_bytes(&self) -> u64 {
        self.ring_bytes.unwrap_or(CaptureSpec::default().ring_bytes)
    }

    /// Payloads are asked about once a session.
    pub(super) fn ask_start_captures(&mut self, names: &[NodeName], spec: CaptureSpec) -> Vec<Effect> {
        let names = self.startable(names);
        if names.is_empty() {
            return Vec::new();
        }
        if spec.content == Content::Full && !self.full_content {
            self.overlay = Some(Overlay::Confirm(Confirm::FullContent(names, Box::new(spec))));
            return Vec::new();
        }
        self.ask_deploy_for_captures(names, spec)
    }

    /// Saves the last seconds of the chosen armed recorders, or of all where none is chosen that is armed.
    pub(super) fn freeze_recorders(&mut self) -> Vec<Effect> {
        let armed = |name: &NodeName| self.nodes.get(name).is_some_and(NodeState::is_armed);
        let mut names: Vec<NodeName> = self.targets().into_iter().filter(armed).collect();
        // Who has chosen others, by marks or by their screen, does not mean all.
        let chosen = matches!(self.screen, Screen::Node(_)) || (self.screen == Screen::Nodes && !self.marks.is_empty());
        if names.is_empty() && !chosen {
            names = self.nodes.keys().filter(|name| armed(name)).cloned().collect();
        }
        if names.is_empty() {
            let arming = self.nodes.values().any(|state| state.is_to_start() || state.asked == Asked::Start);
            let cause = match (arming, chosen) {
                (true, _) => "no flight recorder is armed yet",
                (false, true) => "no flight recorder is armed on what is chosen",
                (false, false) => "no flight recorder is armed",
            };
            let next_step = "{capture-options} arms one, and deploys first where there is no agent: write the time to \
                             keep into its recorder field";
            self.notify(Notice::warning("nothing to freeze", cause, next_step).naming_keys());
        }
        for name in &names {
            self.note_freeze(name);
        }
        names.into_iter().map(|name| Effect::Ask(name, Request::Freeze(self.freeze))).collect()
    }

    /// Something is asked of an agent without a key.
    pub(super) fn asked(&mut self, name: NodeName, request: Request) -> Vec<Effect> {
        if matches!(request, Request::Freeze(_)) {
            self.note_freeze(&name);
        }
        vec![Effect::Ask(name, request)]
    }

    /// From here on a recorder's new files are what this program has asked for.
    fn note_freeze(&mut self, name: &NodeName) {
        let left = self.ring_bytes();
        if let Some(state) = self.nodes.get_mut(name) {
            let newest = state.files.iter().map(|file| file.sequence).max();
            // What an earlier one saves may still come.
            let after = state.frozen.map_or(newest, |frozen| frozen.after);
            state.frozen = Some(Frozen { after, left });
        }
    }

    /// What a flight recorder has saved is delivered at once: here, where its agent has no other sink.
    pub(super) fn bring_frozen_home(&mut self, name: &NodeName) -> Vec<Effect> {
        let Some(state) = self.nodes.get_mut(name) else { return Vec::new() };
        let here = state.ring.as_ref().is_some_and(|ring| ring.sink == SinkState::Ring);
        if !(here && state.is_armed()) {
            return Vec::new();
        }
        // By the ring's order: the node's clock may have been set meanwhile.
        let (Before::UpTo(before), Some(mut frozen)) = (state.before_capture, state.frozen) else { return Vec::new() };
        let before = before.max(frozen.after);
        let is_later = |file: &CaptureFile| before.is_none_or(|before| file.sequence > before);
        let saved = |file: &&CaptureFile| !state.fetches.contains_key(&file.name) && is_later(file);
        let mut fits = |file: &&CaptureFile| {
            let left = frozen.left.checked_sub(file.size);
            frozen.left = left.unwrap_or(frozen.left);
            left.is_some()
        };
        let saved: Vec<CaptureFile> = state.unfetched().filter(saved).filter(&mut fits).cloned().collect();
        state.frozen = Some(frozen);
        for file in &saved {
            state.fetches.insert(file.name.clone(), FetchProgress::Bytes(0));
        }
        saved.into_iter().map(|file| Effect::Fetch(name.clone(), file)).collect()
    }

    /// Follows the chosen running captures in the viewer; where none runs they are started for it.
    pub(super) fn follow_captures(&mut self) -> Vec<Effect> {
        let targets = self.targets();
        let of = |so: fn(&NodeState) -> bool| -> Vec<NodeName> {
            targets.iter().filter(|name| self.nodes.get(*name).is_some_and(so)).cloned().collect()
        };
        let running = of(|state| state.agent.has_tunnel() && state.is_capturing());
        if !running.is_empty() {
            return vec![Effect::Follow(running)];
        }
        let starting = of(|state| state.is_to_start() || state.asked == Asked::Start);
        if !starting.is_empty() {
            self.to_follow = starting.into_iter().collect();
            self.notify(Notice::info("the viewer opens as soon as the capture runs"));
            return Vec::new();
        }
        // Elsewhere the chosen nodes are not on the screen.
        let seen = matches!(self.screen, Screen::Nodes | Screen::Node(_));
        if !seen || self.permission == Permission::ReadOnly {
            let next_step = "{capture} starts one, in the list of nodes";
            let notice = Notice::warning("nothing to follow", "no capture runs on the chosen nodes", next_step);
            self.notify(notice.naming_keys());
            return Vec::new();
        }
        let able = self.startable(&targets);
        self.to_follow = able.iter().cloned().collect();
        self.start_with_form(&able)
    }

    /// Sets every file on its way that is on its node alone, or says that there is none.
    pub(super) fn fetch_all_by_key(&mut self) -> Vec<Effect> {
        let effects = self.fetch_all();
        if effects.is_empty() {
            self.notify(Notice::info("nothing to fetch: every closed file is here, on its way or in S3"));
        }
        effects
    }

    pub(super) fn stop_captures(&mut self, names: Vec<NodeName>) -> Vec<Effect> {
        self.captures_stopped(&names);
        for name in &names {
            if let Some(state) = self.nodes.get_mut(name) {
                state.asked = Asked::Stop;
            }
        }
        names.into_iter().map(|name| Effect::Ask(name, Request::StopCapture)).collect()
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
        let Some(state) = self.nodes.get_mut(&name) else { return Vec::new() };
        if file.state == FileState::Open {
            self.notify(
                Notice::warning(format!("{} is still being written", file.name), "", "press {capture} to stop first")
                    .naming_keys(),
            );
            return Vec::new();
        }
        match state.fetches.get(&file.name) {
            None | Some(FetchProgress::Failed(_)) => {
                state.fetches.insert(file.name.clone(), FetchProgress::Bytes(0));
                vec![Effect::Fetch(name, file)]
            }
            Some(_) => Vec::new(),
        }
    }

    pub(super) fn fetch_progress(&mut self, name: &NodeName, file: String, progress: FetchProgress) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return };
        let notice = match &progress {
            FetchProgress::Bytes(_) => None,
            FetchProgress::Resuming { reason, .. } => {
                state.log(now, format!("{file}: resuming, {reason}"));
                None
            }
            FetchProgress::Done { path, .. } => {
                state.log(now, format!("{file} is here, checked"));
                Some(Notice::info(format!("fetched {}", path.display())))
            }
            FetchProgress::Failed(notice) => {
                state.log(now, notice.line());
                Some(notice.clone())
            }
        };
        state.fetches.insert(file, progress);
        if let Some(notice) = notice {
            self.notify(notice);
        }
    }
}
