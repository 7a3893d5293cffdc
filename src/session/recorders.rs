//! Flight recorders: what they hold, what of it is saved, and saving it, also once an agent that is away is back.
//!
//! Owns which saved files are brought home by themselves, and what is dropped when the session is left. Pure.

use nodewatch_answers::{Certainty, words};
use nodewatch_protocol::{CaptureFile, Freeze, FreezeCause, Request, SinkState, UnixMillis};

use super::{
    Effect, Session,
    node::{Before, Frozen, NodeState},
};
use crate::{
    base::text,
    model::{FetchProgress, NodeName, Notice},
};

/// What flight recorders hold that is saved nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsaved<'a> {
    /// Their nodes, and whether the agent there cannot be reached.
    pub nodes: Vec<(&'a NodeName, bool)>,
    /// What the one that holds most holds, in milliseconds.
    pub held: u64,
    /// How much of it is saved, in milliseconds.
    pub saved: u64,
}

impl NodeState {
    /// What its flight recorder holds by now, and how much of that is saved or will be, in milliseconds. `None` where
    /// there is no recorder, or nothing of it is unsaved.
    pub fn unsaved(&self, now: UnixMillis) -> Option<(u64, u64)> {
        let kept = self.recorder().filter(|_| self.has_recorder())?.seconds.get() * 1000;
        let held = kept.min(now.saturating_sub(self.counts.began));
        let from = now - held.min(now);
        let saved = self.counts.frozen.map_or(0, |frozen| {
            let until = frozen.until.min(now);
            until.saturating_sub(frozen.from.max(from))
        });
        (saved < held).then_some((held, saved))
    }
}

impl Session {
    /// Saves the last seconds of these flight recorders. Those whose agents cannot be reached save the same time as soon as
    /// they can be.
    pub(crate) fn freeze(&mut self, names: Vec<NodeName>) -> Vec<Effect> {
        let now = self.now;
        let (here, away): (Vec<NodeName>, Vec<NodeName>) =
            names.into_iter().partition(|name| self.nodes.get(name).is_some_and(NodeState::is_armed));
        for name in &here {
            self.note_freeze(name, self.terms.freeze);
        }
        let listed = |names: &[NodeName]| names.iter().map(|name| name.0.as_str()).collect::<Vec<_>>().join(", ");
        if !here.is_empty() {
            let Freeze { before_seconds: before, after_seconds: after, .. } = self.terms.freeze;
            let (who, saves) = match here.len() {
                1 => ("the flight recorder".to_owned(), "saves"),
                more => (format!("{more} flight recorders"), "save"),
            };
            let listed = listed(&here);
            self.notify(Notice::info(format!("{who} {saves} {before} s before and {after} s after now: {listed}")));
        }
        if !away.is_empty() {
            let (whose, save) = if away.len() == 1 { ("its recorder", "saves") } else { ("their recorders", "save") };
            let cause = format!("{whose} {save} this time once the agent is back, if it is still held by then");
            self.notify(Notice::warning(format!("cannot be reached now: {}", listed(&away)), cause, ""));
        }
        for name in &away {
            if let Some(state) = self.nodes.get_mut(name) {
                // What was asked for first goes further back.
                state.counts.freeze_due.get_or_insert(now);
                state.note(now, "the flight recorder saves this time once the agent is back");
            }
        }
        here.into_iter().map(|name| Effect::Ask(name, Request::Freeze(self.terms.freeze))).collect()
    }

    /// An agent is back and has said what it captures: what its recorder was to save meanwhile is saved now.
    pub(super) fn freeze_due(&mut self, name: &NodeName) -> Vec<Effect> {
        let Some(state) = self.nodes.get_mut(name).filter(|state| state.agent.has_tunnel()) else { return Vec::new() };
        let Some(pressed) = state.counts.freeze_due.take() else { return Vec::new() };
        if !state.is_armed() {
            let cause = "its flight recorder has ended meanwhile";
            self.notify(Notice::warning(format!("nothing was saved on {name}"), cause, ""));
            return Vec::new();
        }
        let gone = self.now.saturating_sub(pressed).div_ceil(1000);
        let Freeze { before_seconds: before, after_seconds: after, .. } = self.terms.freeze;
        let freeze = Freeze {
            before_seconds: before.get().saturating_add(gone).into(),
            after_seconds: after.get().saturating_sub(gone).into(),
            cause: None,
        };
        self.note_freeze(name, freeze);
        self.notify(Notice::info(format!("{name} is back: its flight recorder saves what was asked for {gone} s ago")));
        vec![Effect::Ask(name.clone(), Request::Freeze(freeze))]
    }

    /// Recorders that are to freeze on an answer do, on all the nodes that it is about. One whose own agent has found it too
    /// has frozen already, and does not do so again.
    pub(super) fn freeze_by_answers(&mut self) -> Vec<Effect> {
        let now = self.now;
        let mut due: Vec<(NodeName, FreezeCause)> = Vec::new();
        for answer in self.answers.current().filter(|answer| answer.certainty.is_answer()) {
            let (Some(code), certain) = (answer.code, answer.certainty == Certainty::Verdict) else { continue };
            let cause = FreezeCause::Code(code as u8);
            let is_due = |name: &&str| {
                let state = self.nodes.get(&NodeName((*name).to_owned())).filter(|state| state.is_armed());
                state.is_some_and(|state| state.is_to_freeze(code as u8, certain) && state.may_freeze(cause, now))
            };
            due.extend(words::nodes(answer).into_iter().filter(is_due).map(|name| (name.into(), cause)));
        }
        let mut effects = Vec::new();
        for (name, cause) in due {
            let kept = self.nodes.get(&name).and_then(NodeState::recorder).map(|recorder| recorder.seconds);
            let before = self.terms.freeze.before_seconds;
            let before_seconds = kept.map_or(before, |kept| before.min(kept));
            let freeze = Freeze { before_seconds, cause: Some(cause), ..self.terms.freeze };
            self.note_freeze(&name, freeze);
            effects.push(Effect::Ask(name, Request::Freeze(freeze)));
        }
        effects
    }

    /// How long flight recorders still save, in milliseconds; `None` when none does.
    pub fn saving(&self) -> Option<u64> {
        self.nodes.values().filter_map(|state| state.saving(self.now)).max()
    }

    /// What flight recorders hold that is saved nowhere, also those whose agents cannot be reached now; not of those that are
    /// saving just now.
    pub fn unsaved_recorders(&self) -> Option<Unsaved<'_>> {
        let mut all: Option<Unsaved<'_>> = None;
        for (name, state) in &self.nodes {
            let Some((held, saved)) = state.unsaved(self.now) else { continue };
            if state.saving(self.now).is_some() {
                continue;
            }
            let all = all.get_or_insert(Unsaved { nodes: Vec::new(), held, saved });
            all.nodes.push((name, !state.agent.has_tunnel()));
            (all.held, all.saved) = (all.held.max(held), all.saved.min(saved));
        }
        all
    }

    /// What is dropped when captures are stopped now is told at the end.
    pub(super) fn dropped_recorders(&self) -> Vec<String> {
        let dropped = |(name, state): (&NodeName, &NodeState)| match state.unsaved(self.now)? {
            (held, 0) => {
                let held = text::lasting(held);
                Some(format!("the flight recorder on {name} was dropped: its last {held} were saved nowhere"))
            }
            _ => None,
        };
        self.nodes.iter().filter_map(dropped).collect()
    }

    /// From here on a recorder's new files are what this program has asked for.
    pub(super) fn note_freeze(&mut self, name: &NodeName, freeze: Freeze) {
        let (left, now) = (self.ring_bytes(), self.now);
        let until = now + freeze.after_seconds.get() * 1000;
        if let Some(state) = self.nodes.get_mut(name) {
            let newest = state.files.iter().map(|file| file.sequence).max();
            // What an earlier one saves may still come.
            let after = state.counts.frozen.map_or(newest, |frozen| frozen.after);
            let earlier = state.counts.frozen.map_or(0, |frozen| frozen.until);
            let from = now.saturating_sub(freeze.before_seconds.get().saturating_mul(1000));
            state.counts.frozen = Some(Frozen { after, left, from, until, earlier });
            if let Some(cause) = freeze.cause {
                state.counts.froze_for.insert(cause, now);
            }
        }
    }

    /// A recorder does not save what it was asked to, as far as anybody knows: for a reason that goes on it is asked again.
    pub(super) fn freeze_failed(&mut self, name: &NodeName, freeze: Freeze) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return };
        if let Some(frozen) = &mut state.counts.frozen {
            frozen.until = frozen.earlier;
        }
        if let Some(cause) = freeze.cause {
            state.has_not_frozen(cause, now);
        }
    }

    /// What a flight recorder has saved is delivered at once: here, where its agent has no other sink. One that freezes by
    /// itself was asked to when it was armed: what it has saved while nobody was there comes too.
    pub(super) fn bring_frozen_home(&mut self, name: &NodeName) -> Vec<Effect> {
        let (ring, now) = (self.ring_bytes(), self.now);
        let Some(state) = self.nodes.get_mut(name) else { return Vec::new() };
        let here = state.ring.as_ref().is_some_and(|ring| ring.sink == SinkState::Ring);
        if !(here && state.is_armed()) {
            return Vec::new();
        }
        // By the ring's order: the node's clock may have been set meanwhile.
        let by_itself =
            state.freezes_by_itself().then_some(Frozen { after: None, left: ring, from: now, until: now, earlier: 0 });
        let (Before::UpTo(before), Some(mut frozen)) = (state.counts.before, state.counts.frozen.or(by_itself)) else {
            return Vec::new();
        };
        let before = before.max(frozen.after);
        let is_later = |file: &CaptureFile| before.is_none_or(|before| file.sequence > before);
        // What somebody has fetched is looked for here.
        let is_alone = |file: &CaptureFile| !file.fetched && !state.fetches.contains_key(&file.name);
        let saved = |file: &&CaptureFile| is_alone(file) && is_later(file);
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
}
