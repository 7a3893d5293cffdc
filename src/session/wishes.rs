//! What the user wants of the guided exit.
//!
//! Owns which wish means what in which phase. Pure.

use super::{
    Effect, Next, Session,
    exit::{Leaving, Phase},
};
use crate::model::{Group, Notice};

impl Session {
    /// Keeps what the exit would remove of a group, and the other way around.
    pub(crate) fn toggle_kept(&mut self, group: Group) {
        if let Leaving::Going(exit) = &mut self.leaving
            && exit.phase == Phase::Asking
        {
            exit.toggle(group);
        }
    }

    /// The session is not left after all, as long as nothing was removed.
    pub(crate) fn call_off(&mut self) {
        let Some(phase) = self.exit_phase().filter(|phase| phase.is_before_removal()) else { return };
        self.leaving = Leaving::Not;
        self.next = None;
        if phase != Phase::Asking {
            self.notify(Notice::info("the session continues; captures that were stopped stay stopped"));
        }
    }

    /// On with the exit from where it waits for a word.
    pub(crate) fn confirm_exit(&mut self) -> Vec<Effect> {
        match self.exit_phase() {
            Some(Phase::Done) => self.finish(),
            Some(Phase::Asking | Phase::FetchFailed | Phase::RemoveFailed) => self.go_on_leaving(),
            _ => Vec::new(),
        }
    }

    /// On without what is waited for.
    pub(crate) fn skip(&mut self) -> Vec<Effect> {
        match self.exit_phase() {
            Some(Phase::Delivering { .. }) => self.enter(Phase::Fetching),
            Some(Phase::Stopping { .. } | Phase::Fetching | Phase::FetchFailed) => self.after_files(),
            Some(Phase::RemoveFailed) => self.finish(),
            _ => Vec::new(),
        }
    }

    /// What others have in the session's namespace is to go with it: asked about first, and then removed.
    pub(crate) fn remove_contents(&mut self) -> Vec<Effect> {
        let Leaving::Going(exit) = &mut self.leaving else { return Vec::new() };
        match (exit.phase, exit.end.sure) {
            (Phase::RemoveFailed, true) => {
                exit.end.sure = false;
                let mut effects = vec![Effect::AllowContents(std::mem::take(&mut exit.end.holds))];
                effects.extend(self.enter(Phase::Removing));
                effects
            }
            (Phase::RemoveFailed, false) => {
                exit.end.sure = !exit.end.holds.is_empty();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// It stays after all.
    pub(crate) fn spare_contents(&mut self) {
        if let Leaving::Going(exit) = &mut self.leaving {
            exit.end.sure = false;
        }
    }

    /// Goes on elsewhere: at once where nothing was made, otherwise by the guided exit.
    pub(crate) fn switch(&mut self, next: Next) -> Vec<Effect> {
        if matches!(&next, Next::Context(name) if self.is_here(name)) {
            self.notify(Notice::info("already in this context"));
            return Vec::new();
        }
        let target = match &next {
            Next::Context(name) => format!("context {name}"),
            Next::Namespace(Some(name)) => format!("namespace {name}"),
            Next::Namespace(None) => "the session's own namespace".to_owned(),
            Next::Attach(session) => format!("session {session}"),
        };
        if self.nodes.values().any(|state| state.agent.is_deployed()) {
            let headline = format!("finish this session first; nodewatch then switches to {target}");
            self.notify(Notice::info(headline));
        }
        self.go_to(next)
    }

    /// Leaves, to go on with that.
    pub(crate) fn go_to(&mut self, next: Next) -> Vec<Effect> {
        self.next = Some(next);
        self.leave(false)
    }
}
