//! Captures and their files: stopping, freezing, bringing home.
//!
//! Owns what is asked of agents for it, and how far files are on their way. Pure.

use std::path::PathBuf;

use nodewatch_protocol::{
    CaptureFile, CaptureSpec, CaptureState, FilePlace, FileRecord, Freeze, Request, RingList, SinkState,
};

use super::{
    Effect, Session,
    node::{Asked, Before, Frozen, NodeState},
};
use crate::model::{FetchProgress, Node, NodeName, Notice};

impl Session {
    /// What the ring on a node may take.
    pub fn ring_bytes(&self) -> u64 {
        self.terms.ring_bytes.unwrap_or(CaptureSpec::default().ring_bytes)
    }

    /// Something is asked of an agent without a key.
    pub(super) fn asked(&mut self, name: NodeName, request: Request) -> Vec<Effect> {
        if matches!(request, Request::Freeze(_)) {
            self.note_freeze(&name);
        }
        if let Request::Probe(probe) = request {
            self.note_probe(&name, probe);
        }
        vec![Effect::Ask(name, request)]
    }

    /// Saves the last seconds of these flight recorders.
    pub(crate) fn freeze(&mut self, names: Vec<NodeName>) -> Vec<Effect> {
        for name in &names {
            self.note_freeze(name);
        }
        if !names.is_empty() {
            let Freeze { before_seconds: before, after_seconds: after } = self.terms.freeze;
            let listed: Vec<&str> = names.iter().map(|name| name.0.as_str()).collect();
            let (who, saves) = match listed.len() {
                1 => ("the flight recorder".to_owned(), "saves"),
                more => (format!("{more} flight recorders"), "save"),
            };
            let listed = listed.join(", ");
            self.notify(Notice::info(format!("{who} {saves} {before} s before and {after} s after now: {listed}")));
        }
        names.into_iter().map(|name| Effect::Ask(name, Request::Freeze(self.terms.freeze))).collect()
    }

    /// How long flight recorders still save, in milliseconds; `None` when none does.
    pub fn saving(&self) -> Option<u64> {
        self.nodes.values().filter_map(|state| state.saving(self.now)).max()
    }

    /// Armed flight recorders whose last seconds are saved nowhere, and what the longest keeps, in milliseconds.
    pub fn unsaved_recorders(&self) -> Option<(Vec<&NodeName>, u64)> {
        let armed = self.nodes.iter().filter(|(_, state)| state.is_armed() && !state.was_saved(self.now));
        let (names, kept): (Vec<&NodeName>, Vec<u64>) =
            armed.map(|(name, state)| (name, state.recorder().map_or(0, |it| it.seconds.get() * 1000))).unzip();
        kept.into_iter().max().map(|longest| (names, longest))
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
        state.to_look_for().into_iter().map(|file| Effect::LookFor(name.clone(), file)).collect()
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

    /// From here on a recorder's new files are what this program has asked for.
    fn note_freeze(&mut self, name: &NodeName) {
        let left = self.ring_bytes();
        let until = self.now + self.terms.freeze.after_seconds.get() * 1000;
        if let Some(state) = self.nodes.get_mut(name) {
            let newest = state.files.iter().map(|file| file.sequence).max();
            // What an earlier one saves may still come.
            let after = state.counts.frozen.map_or(newest, |frozen| frozen.after);
            let earlier = state.counts.frozen.map_or(0, |frozen| frozen.until);
            state.counts.frozen = Some(Frozen { after, left, until, earlier });
        }
    }

    /// A recorder does not save what it was asked to, as far as anybody knows.
    pub(super) fn freeze_failed(&mut self, name: &NodeName) {
        if let Some(frozen) = self.nodes.get_mut(name).and_then(|state| state.counts.frozen.as_mut()) {
            frozen.until = frozen.earlier;
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
        let (Before::UpTo(before), Some(mut frozen)) = (state.counts.before, state.counts.frozen) else {
            return Vec::new();
        };
        let before = before.max(frozen.after);
        let is_later = |file: &CaptureFile| before.is_none_or(|before| file.sequence > before);
        let saved = |file: &&CaptureFile| !state.fetches.contains_key(&file.name) && is_later(file);
        let mut fits = |file: &&CaptureFile| {
            let left = frozen.left.checked_sub(file.size);
            frozen.left = left.unwrap_or(frozen.left);
            left.is_some()
        };
        let saved: Vec<CaptureFile> = state.unfetched().filter(saved).filter(&mut fits).cloned().collect();
        state.counts.frozen = Some(frozen);
        for file in &saved {
            state.fetches.insert(file.name.clone(), FetchProgress::Bytes(0));
        }
        saved.into_iter().map(|file| Effect::Fetch(name.clone(), file)).collect()
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
        names.into_iter().map(|name| Effect::Ask(name, Request::StopCapture)).collect()
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
        FileRecord { file, capture, place: FilePlace::Gone, span: None, frozen: false, asked: false }
    }
}
