//! Captures and their files: starting, stopping, freezing, bringing home.
//!
//! Owns which nodes a key is about and what is asked of their agents. Pure.

use nodewatch_protocol::{CaptureAbility, CaptureFile, CaptureSpec, Content, FileState, Request, SinkState};

use super::{
    App, Confirm, Overlay,
    action::Effect,
    node::{Agent, Asked, Before, Frozen, NodeState},
};
use crate::model::{Failure, FetchProgress, NodeName, Notice};

impl App {
    /// The chosen nodes whose agent is live; a notice when there are none.
    pub(super) fn capture_targets(&mut self) -> Vec<NodeName> {
        let live: Vec<NodeName> = self
            .targets()
            .into_iter()
            .filter(|name| self.nodes.get(name).is_some_and(|state| state.agent == Agent::Live))
            .collect();
        if live.is_empty() {
            self.notify(
                Notice::warning("no capture", "none of the chosen nodes has a live agent", "press {deploy} to deploy")
                    .naming_keys(),
            );
        }
        live
    }

    /// Stops where captures run, otherwise starts with the remembered options.
    pub(super) fn toggle_capture(&mut self) -> Vec<Effect> {
        let targets = self.capture_targets();
        let running: Vec<NodeName> =
            targets.iter().filter(|name| self.nodes.get(*name).is_some_and(NodeState::is_capturing)).cloned().collect();
        match running.len() {
            0 if targets.is_empty() => Vec::new(),
            0 => {
                let mut form = self.form.clone();
                if let Some(spec) = form.submit(self.ring_bytes()) {
                    self.ask_start_captures(targets, spec)
                } else {
                    self.overlay = Some(Overlay::Form(Box::new(form)));
                    Vec::new()
                }
            }
            1 => self.stop_captures(running),
            _ => {
                self.overlay = Some(Overlay::Confirm(Confirm::StopCaptures(running)));
                Vec::new()
            }
        }
    }

    pub(super) fn ring_bytes(&self) -> u64 {
        self.ring_bytes.unwrap_or(CaptureSpec::default().ring_bytes)
    }

    /// Payloads are asked about once a session.
    pub(super) fn ask_start_captures(&mut self, names: Vec<NodeName>, spec: CaptureSpec) -> Vec<Effect> {
        if names.is_empty() {
            return Vec::new();
        }
        if spec.content == Content::Full && !self.full_content {
            self.overlay = Some(Overlay::Confirm(Confirm::FullContent(names, Box::new(spec))));
            return Vec::new();
        }
        self.start_captures(names, &spec)
    }

    /// Saves the last seconds of the chosen armed recorders, or of all where none is chosen that is armed.
    pub(super) fn freeze_recorders(&mut self) -> Vec<Effect> {
        let armed = |name: &NodeName| self.nodes.get(name).is_some_and(NodeState::is_armed);
        let mut names: Vec<NodeName> = self.targets().into_iter().filter(armed).collect();
        if names.is_empty() {
            names = self.nodes.keys().filter(|name| armed(name)).cloned().collect();
        }
        if names.is_empty() {
            let next_step = "C arms one: write the seconds to keep into its recorder field";
            self.notify(Notice::warning("nothing to freeze", "no flight recorder is armed", next_step));
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

    /// Follows the chosen running captures in the viewer.
    pub(super) fn follow_captures(&mut self) -> Vec<Effect> {
        let running = |name: &NodeName| {
            self.nodes.get(name).is_some_and(|state| state.agent == Agent::Live && state.is_capturing())
        };
        let names: Vec<NodeName> = self.targets().into_iter().filter(running).collect();
        if names.is_empty() {
            self.notify(Notice::warning("nothing to follow", "no capture runs on the chosen nodes", "c starts one"));
            return Vec::new();
        }
        vec![Effect::Follow(names)]
    }

    /// Starts a capture on these nodes, once the hosts that its filter names are known by their addresses: no node looks
    /// names up.
    pub(super) fn start_captures(&mut self, names: Vec<NodeName>, spec: &CaptureSpec) -> Vec<Effect> {
        let named = spec.filter.as_deref().is_some_and(|filter| !nodewatch_filter::host_names(filter).is_empty());
        if named && !names.is_empty() {
            return vec![Effect::Resolve(names, spec.clone())];
        }
        self.begin_captures(names, spec)
    }

    /// What the hosts of a filter became is shown, and is what agents are told.
    pub(super) fn resolved(&mut self, names: Vec<NodeName>, spec: Result<CaptureSpec, Notice>) -> Vec<Effect> {
        match spec {
            Ok(spec) => {
                let filter = spec.filter.clone().unwrap_or_default();
                self.notify(Notice::info(format!("the filter with its hosts' addresses: {filter}")));
                self.begin_captures(names, &spec)
            }
            Err(notice) => {
                for (_, state) in self.nodes.iter_mut().filter(|(name, _)| names.contains(name)) {
                    state.refusal = Some(notice.clone());
                }
                self.notify(notice);
                Vec::new()
            }
        }
    }

    /// On every one of these nodes that can and does not already.
    fn begin_captures(&mut self, names: Vec<NodeName>, spec: &CaptureSpec) -> Vec<Effect> {
        self.captured_on(&names, spec);
        let mut effects = Vec::new();
        for name in names {
            let Some(state) = self.nodes.get_mut(&name) else { continue };
            if let Some(CaptureAbility::Missing { right, next_step }) = state.facts.as_ref().map(|facts| &facts.capture)
            {
                let notice =
                    Notice::error(format!("no capture on {name}"), format!("the agent lacks {right}"), next_step)
                        .of(Failure::NotPermitted);
                state.refusal = Some(notice.clone());
                self.notify(notice);
                continue;
            }
            if !state.is_capturing() && state.asked == Asked::Nothing {
                state.asked = Asked::Start;
                state.refusal = None;
                effects.push(Effect::Ask(name, Request::StartCapture(spec.clone())));
            }
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

    pub(super) fn fetch_selected(&mut self) -> Vec<Effect> {
        let at = self.file_cursor;
        let Some(name) = self.cursor.clone() else { return Vec::new() };
        let Some(state) = self.nodes.get_mut(&name) else { return Vec::new() };
        let Some(file): Option<CaptureFile> = state.files.get(at).cloned() else { return Vec::new() };
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
