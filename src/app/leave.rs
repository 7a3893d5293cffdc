//! From the wish to leave to the end of the program.
//!
//! Owns the steps of the guided exit on the whole app. Pure.

use nodewatch_protocol::Request;

use super::{
    App, Overlay,
    action::{Action, Effect},
    exit::{Exit, Phase, Receipt, STOP_WITHIN},
    node::{Agent, Asked, NodeState},
};
use crate::model::{FetchProgress, NodeName, Place, Removal};

impl App {
    /// Opens the guided exit, or ends at once when nothing was made.
    pub(super) fn leave(&mut self, unattended: bool) -> Vec<Effect> {
        if !self.nodes.values().any(|state| state.agent.is_deployed()) {
            return vec![Effect::Quit];
        }
        if let Some(Overlay::Exit(exit)) = &mut self.overlay {
            exit.unattended |= unattended;
        } else {
            self.overlay = Some(Overlay::Exit(Exit { phase: Phase::Asking, objects: Vec::new(), unattended }));
        }
        if unattended { self.go_on_leaving() } else { Vec::new() }
    }

    /// A key in the guided exit.
    pub(super) fn exit_key(&mut self, action: Action) -> Vec<Effect> {
        let Some(Overlay::Exit(exit)) = &self.overlay else { return Vec::new() };
        match (&exit.phase, action) {
            (Phase::Asking, Action::Back | Action::Quit) => {
                self.overlay = None;
                Vec::new()
            }
            (Phase::Asking | Phase::FetchFailed | Phase::RemoveFailed, Action::Open) => self.go_on_leaving(),
            (Phase::Stopping { .. } | Phase::Fetching | Phase::FetchFailed, Action::Skip) => {
                self.enter(Phase::Removing)
            }
            (Phase::RemoveFailed, Action::Quit | Action::Skip) | (Phase::Done, Action::Open | Action::Quit) => {
                self.finish()
            }
            _ => Vec::new(),
        }
    }

    /// From where the exit stands to its next phase.
    fn go_on_leaving(&mut self) -> Vec<Effect> {
        match self.exit_phase() {
            Some(Phase::Asking | Phase::FetchFailed) => {
                let until = self.now + STOP_WITHIN;
                self.enter(Phase::Stopping { until })
            }
            Some(Phase::RemoveFailed) => self.enter(Phase::Removing),
            _ => Vec::new(),
        }
    }

    fn exit_phase(&self) -> Option<Phase> {
        match &self.overlay {
            Some(Overlay::Exit(exit)) => Some(exit.phase),
            _ => None,
        }
    }

    fn enter(&mut self, phase: Phase) -> Vec<Effect> {
        if let Some(Overlay::Exit(exit)) = &mut self.overlay {
            exit.phase = phase;
        }
        let mut effects = match phase {
            Phase::Fetching => self.fetch_all(),
            Phase::Removing => vec![Effect::CleanUp],
            _ => Vec::new(),
        };
        effects.extend(self.check_leaving());
        effects
    }

    /// Sees whether the phase that is waited for has come about.
    pub(super) fn check_leaving(&mut self) -> Vec<Effect> {
        match self.exit_phase() {
            Some(Phase::Stopping { until }) => {
                // A tunnel that was lost meanwhile is told again when it is back.
                let mut effects = self.stop_all_captures();
                if self.now >= until || !self.nodes.values().any(NodeState::is_writing) {
                    effects.extend(self.enter(Phase::Fetching));
                }
                effects
            }
            Some(Phase::Fetching) => {
                let outcomes = self.nodes.values().flat_map(|state| {
                    state
                        .unfetched()
                        .map(|file| matches!(state.fetches.get(&file.name), Some(FetchProgress::Failed(_))))
                });
                let (failed, on_their_way): (Vec<bool>, Vec<bool>) = outcomes.partition(|&failed| failed);
                if !on_their_way.is_empty() {
                    return Vec::new();
                }
                let complete = failed.is_empty() && !self.nodes.values().any(NodeState::is_writing);
                self.enter(if complete || self.is_unattended() { Phase::Removing } else { Phase::FetchFailed })
            }
            _ => Vec::new(),
        }
    }

    fn is_unattended(&self) -> bool {
        matches!(&self.overlay, Some(Overlay::Exit(exit)) if exit.unattended)
    }

    /// Cleanup went on.
    pub(super) fn removal(&mut self, removal: Removal) -> Vec<Effect> {
        let Some(Overlay::Exit(exit)) = &mut self.overlay else { return Vec::new() };
        let ended = exit.apply(removal);
        if ended && (exit.phase == Phase::Done || exit.unattended) { self.finish() } else { Vec::new() }
    }

    fn finish(&mut self) -> Vec<Effect> {
        if let Some(Overlay::Exit(exit)) = &self.overlay {
            self.ended = Some(exit.clone());
        }
        vec![Effect::Quit]
    }

    fn stop_all_captures(&mut self) -> Vec<Effect> {
        let running: Vec<NodeName> = self
            .nodes
            .values_mut()
            .filter(|state| state.agent == Agent::Live && state.is_capturing() && state.asked != Asked::Stop)
            .map(|state| {
                state.asked = Asked::Stop;
                state.node.name.clone()
            })
            .collect();
        running.into_iter().map(|name| Effect::Ask(name, Request::StopCapture)).collect()
    }

    /// Sets every file on its way that is neither here nor under way.
    pub(super) fn fetch_all(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for state in self.nodes.values_mut() {
            let wanted: Vec<_> = state
                .unfetched()
                .filter(|file| matches!(state.fetches.get(&file.name), None | Some(FetchProgress::Failed(_))))
                .cloned()
                .collect();
            for file in wanted {
                state.fetches.insert(file.name.clone(), FetchProgress::Bytes(0));
                effects.push(Effect::Fetch(state.node.name.clone(), file));
            }
        }
        effects
    }

    /// What the session has done and left.
    pub fn receipt(&self) -> Receipt {
        let mut receipt = Receipt {
            session: Some(self.session.id.clone()),
            place: match &self.place {
                Place::Local => "this machine".to_owned(),
                Place::Cluster { context, .. } => format!("context {context}"),
            },
            objects: self.ended.as_ref().map(|exit| exit.objects.clone()).unwrap_or_default(),
            ..Receipt::default()
        };
        for (name, state) in &self.nodes {
            for file in &state.files {
                match state.fetches.get(&file.name) {
                    Some(FetchProgress::Done { path, sha256 }) => {
                        receipt.fetched.push((path.clone(), file.size, sha256.clone()));
                    }
                    Some(FetchProgress::Failed(notice)) => {
                        receipt.lost.push((name.clone(), file.name.clone(), file.size, notice.cause.clone()));
                    }
                    _ => {
                        let reason = "it was not fetched before the agent was removed".to_owned();
                        receipt.lost.push((name.clone(), file.name.clone(), file.size, reason));
                    }
                }
            }
        }
        receipt
    }
}
