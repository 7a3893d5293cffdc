//! Files that come home by themselves: as they are closed, where no sink takes them, and all of them before the session
//! ends, as rings go with their agents.
//!
//! Owns which these are and when that begins. Pure.

use nodewatch_protocol::{CaptureFile, Delivery, UnixMillis};

use super::{
    Effect, REMIND_BEFORE, Session,
    node::{Agent, NodeState},
};
use crate::model::{FetchProgress, NodeName, Notice, Place};

/// Between two tries for a file that did not come, in milliseconds.
const AGAIN_EVERY: u64 = 30_000;
/// A person's captures go on until so long before the session's end, in milliseconds.
const LAST_CALL: u64 = 60_000;

impl Session {
    /// When captures are to end so that their last files get home before the session ends. Of a short session that is
    /// a part.
    pub fn homeward(&self) -> Option<UnixMillis> {
        self.before_end(4, REMIND_BEFORE)
    }

    /// So long before the end, or that part of the whole time where that is less.
    fn before_end(&self, part: u64, at_most: u64) -> Option<UnixMillis> {
        let ends = self.life.ends?;
        let whole = ends.saturating_sub(self.life.began.unwrap_or(self.now));
        Some(ends.saturating_sub((whole / part).min(at_most)))
    }

    /// Sets a node's closed files on their way that nobody else gets. One that did not come is tried again later.
    pub(super) fn bring_closed_home(&mut self, name: &NodeName) -> Vec<Effect> {
        let (homing, sink) = (self.transfers.homing, self.terms.storage.is_some());
        let Some(state) = self.nodes.get_mut(name) else { return Vec::new() };
        if !homing || state.agent != Agent::Live {
            return Vec::new();
        }
        let new = |file: &CaptureFile| !state.fetches.contains_key(&file.name);
        let wanted: Vec<CaptureFile> =
            state.unfetched().filter(|file| stays(state, file, sink) && new(file)).cloned().collect();
        set_out(state, name, wanted)
    }

    /// The same for every node, and for what did not come before, now and then.
    pub(super) fn homing_due(&mut self) -> Vec<Effect> {
        let (now, sink) = (self.now, self.terms.storage.is_some());
        let mut effects = self.last_call();
        if !self.transfers.homing || self.is_leaving() || now % AGAIN_EVERY >= 1000 {
            return effects;
        }
        for (name, state) in self.nodes.iter_mut().filter(|(_, state)| state.agent == Agent::Live) {
            let due = |file: &CaptureFile| {
                matches!(state.fetches.get(&file.name), None | Some(FetchProgress::Failed(_)))
                    && stays(state, file, sink)
            };
            let wanted: Vec<CaptureFile> = state.unfetched().filter(|file| due(file)).cloned().collect();
            effects.extend(set_out(state, name, wanted));
        }
        effects
    }

    /// Files that the session's end would take are fetched from now on; whether there are any.
    pub(super) fn begin_homing(&mut self) -> bool {
        let sink = self.terms.storage.is_some();
        let at_stake = |state: &NodeState| {
            state.is_writing() && !(sink && state.delivery.no_grant.is_none())
                || state.unfetched().any(|file| stays(state, file, sink))
        };
        // Files of a stream are nobody's to fetch.
        let meant = self.terms.place != Place::Local && !self.terms.files.keep_files;
        self.transfers.homing |= meant;
        meant && self.nodes.values().any(at_stake)
    }

    /// Just before the end captures whose files only the ring has are closed: what is written then is lost with it.
    fn last_call(&mut self) -> Vec<Effect> {
        let (sink, ends) = (self.terms.storage.is_some(), self.life.ends);
        let due = self.before_end(8, LAST_CALL).is_some_and(|at| self.now >= at);
        if !due || self.life.called == ends || self.is_leaving() {
            return Vec::new();
        }
        self.life.called = ends;
        let open = |state: &&NodeState| {
            state.agent == Agent::Live && state.is_capturing() && !(sink && state.delivery.no_grant.is_none())
        };
        let names: Vec<NodeName> = self.nodes.values().filter(open).map(|state| state.node.name.clone()).collect();
        if names.is_empty() {
            return Vec::new();
        }
        self.transfers.homing = !self.terms.files.keep_files;
        let seconds = ends.unwrap_or(self.now).saturating_sub(self.now) / 1000;
        let cause = format!("the session ends in {seconds} s; files not copied elsewhere are fetched first");
        self.notify(Notice::warning("captures were stopped", cause, "{budget} moves the end").naming_keys());
        self.stop_captures(names)
    }
}

/// A file that no sink gets, or not any more.
fn stays(state: &NodeState, file: &CaptureFile, sink: bool) -> bool {
    let over = matches!(file.delivery, Delivery::Lost { .. }) || state.is_removed_from_s3(file);
    !sink || state.delivery.no_grant.is_some() || over
}

fn set_out(state: &mut NodeState, name: &NodeName, files: Vec<CaptureFile>) -> Vec<Effect> {
    for file in &files {
        state.fetches.insert(file.name.clone(), FetchProgress::Bytes(0));
    }
    files.into_iter().map(|file| Effect::Fetch(name.clone(), file)).collect()
}
