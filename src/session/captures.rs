//! Captures and their files: stopping, freezing, bringing home.
//!
//! Owns what is asked of agents for it, and how far files are on their way. Pure.

use std::path::PathBuf;

use nodewatch_protocol::{CaptureFile, CaptureSpec, CaptureState, FilePlace, FileRecord, Request, RingList};

use super::{
    Effect, Session,
    node::{Asked, NodeState},
};
use crate::model::{FetchProgress, Node, NodeName, Notice};

impl Session {
    /// What the ring on a node may take.
    pub fn ring_bytes(&self) -> u64 {
        self.terms.ring_bytes.unwrap_or(CaptureSpec::default().ring_bytes)
    }

    /// Something is asked of an agent without a key.
    pub(super) fn asked(&mut self, name: NodeName, request: Request) -> Vec<Effect> {
        if let Request::Freeze(freeze) = request {
            self.note_freeze(&name, freeze);
        }
        if let Request::Probe(probe) = request {
            self.note_probe(&name, probe);
        }
        vec![Effect::Ask(name, request)]
    }

    /// Sets a file on its way here, unless it is here or on its way.
    pub(crate) fn fetch_file(&mut self, name: &NodeName, file: CaptureFile) -> Option<Effect> {
        let state = self.nodes.get_mut(name)?;
        if !matches!(state.fetches.get(&file.name), None | Some(FetchProgress::Failed(_))) {
            return None;
        }
        state.fetches.insert(file.name.clone(), FetchProgress::Bytes(0));
        Some(Effect::Fetch(name.clone(), file))
    }

    /// What some laptop has fetched may be on this one: brought by `freeze`, or by this program before it was left.
    pub(super) fn look_for_fetched(&mut self, name: &NodeName) -> Vec<Effect> {
        let Some(state) = self.nodes.get_mut(name) else { return Vec::new() };
        state.take_unlooked().into_iter().map(|file| Effect::LookFor(name.clone(), file)).collect()
    }

    /// It is, and counts as fetched.
    pub(super) fn found_here(&mut self, name: &NodeName, file: String, path: PathBuf, sha256: String) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return };
        if matches!(state.fetches.get(&file), None | Some(FetchProgress::Failed(_))) {
            state.note(now, format!("{file} is on this laptop already, verified"));
            state.fetches.insert(file, FetchProgress::Done { path, sha256 });
        }
    }

    /// What is known here of every node's files, for where no agent can say it any more: its pod or its whole namespace
    /// was removed.
    pub(super) fn known_rings(&self) -> Vec<(Node, RingList)> {
        let known = |state: &NodeState| {
            let files: Vec<FileRecord> = state.every_file().map(|file| state.record_of(file)).collect();
            let ring = RingList { node: state.node.name.0.clone(), files, ..RingList::default() };
            (!ring.files.is_empty()).then(|| (state.node.clone(), ring))
        };
        self.nodes.values().filter_map(known).collect()
    }

    /// Ends the captures on these nodes.
    pub(crate) fn stop_captures(&mut self, names: Vec<NodeName>) -> Vec<Effect> {
        self.captures_stopped(&names);
        for name in &names {
            if let Some(state) = self.nodes.get_mut(name) {
                state.asked = Asked::Stop;
            }
        }
        let mut effects = self.targets_left(&names);
        effects.extend(names.into_iter().map(|name| Effect::Ask(name, Request::StopCapture)));
        effects
    }

    pub(super) fn fetch_progress(&mut self, name: &NodeName, file: String, progress: FetchProgress) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return };
        let notice = match &progress {
            FetchProgress::Bytes(_) => None,
            FetchProgress::Resuming { reason, .. } => {
                state.note(now, format!("{file}: resuming ({reason})"));
                None
            }
            FetchProgress::Done { path, .. } => {
                state.note(now, format!("{file} fetched, verified"));
                Some(Notice::info(format!("fetched {}", path.display())))
            }
            FetchProgress::Failed(notice) => {
                state.note(now, notice.line());
                Some(notice.clone())
            }
        };
        state.fetches.insert(file, progress);
        if let Some(notice) = notice {
            self.notify(notice);
        }
    }
}

impl NodeState {
    /// A file as its ring's list would have it, as far as that was told.
    fn record_of(&self, file: &CaptureFile) -> FileRecord {
        let capture = match self.capture {
            CaptureState::Running { since, .. } | CaptureState::Stopped { since, .. } => since.min(file.started),
            CaptureState::Idle => file.started,
        };
        let here = match self.fetches.get(&file.name) {
            Some(FetchProgress::Done { sha256, .. }) => Some(sha256.clone()),
            _ => None,
        };
        let fetched = file.fetched || here.is_some();
        let file = CaptureFile { sha256: here.or_else(|| file.sha256.clone()), fetched, ..file.clone() };
        FileRecord { file, capture, place: FilePlace::Gone, span: None, frozen: false, cause: None, asked: false }
    }
}
