//! Watching: which agents are to watch, and what is asked of them for it.
//!
//! Owns what waits for an agent, what is taken back, and what is asked again after a tunnel was cut or an agent replaced:
//! an agent says how it stands first, so that nothing is asked twice. Of several wishes the newest stands. Pure.

use nodewatch_protocol::{CaptureAbility, RefusalKind, Request, Response, UnixMillis, WatchSpec, WatchState};

use super::{
    Effect, Session,
    node::{Agent, Asked, NodeState},
};
use crate::{
    base::text,
    model::{Failure, NodeName, Notice},
};

/// An agent that has not said how it stands so long after its tunnel is up is asked all the same, in milliseconds.
const SAYS_WITHIN: UnixMillis = 3_000;

impl NodeState {
    /// Its agent watches, as far as anybody can know now.
    pub fn is_watching(&self) -> bool {
        let watch = &self.seen.watch;
        let goes_on = matches!(self.agent, Agent::Live | Agent::Lost { .. } | Agent::Connecting);
        watch.state.is_on() && goes_on && watch.asked != Asked::Stop
    }

    /// Its agent watches, or tells what the packets of a capture show.
    pub fn is_analysing(&self, now: UnixMillis) -> bool {
        self.is_watching() || (self.agent.has_tunnel() && self.seen.watch.is_told(now))
    }

    /// It is to watch and does not yet.
    pub fn is_to_watch(&self) -> bool {
        self.seen.watch.is_wanted() && !self.is_watching() && self.agent.runs()
    }

    /// Why it cannot be asked to watch now; `None` when it can, at once or as soon as there is an agent.
    fn why_no_watch(&self) -> Option<&'static str> {
        match &self.agent {
            _ if self.is_watching() => Some("it is watched already"),
            _ if self.is_to_watch() => Some("watching was requested; the agent has not answered yet"),
            _ if !self.present && self.agent.is_missing() => Some("the node has left the cluster"),
            _ => None,
        }
    }
}

impl Session {
    /// Those of these nodes that can be watched; when there are none, a notice says why.
    pub(crate) fn watchable(&mut self, names: &[NodeName]) -> Vec<NodeName> {
        let fit = self.able_to_run(names);
        if fit.is_empty() && !names.is_empty() {
            return Vec::new();
        }
        let why = |name: &NodeName| self.nodes.get(name).and_then(NodeState::why_no_watch);
        let able: Vec<NodeName> = fit.iter().filter(|name| why(name).is_none()).cloned().collect();
        if able.is_empty() {
            let first = fit.iter().find_map(|name| Some(format!("{name}: {}", why(name)?)));
            let cause = first.unwrap_or_else(|| "no node selected".to_owned());
            self.notify(Notice::warning("nothing new is watched", cause, ""));
        }
        able
    }

    /// The same on all that are up, as a command asks for it.
    pub(super) fn watch_asked_for(&mut self, names: &[NodeName], spec: &WatchSpec) -> Vec<Effect> {
        self.watched_everywhere(spec);
        self.watch(names, spec)
    }

    /// Watches these nodes, each as soon as it can.
    pub(crate) fn watch(&mut self, names: &[NodeName], spec: &WatchSpec) -> Vec<Effect> {
        self.watched_on(names, spec);
        let now = self.now;
        let mut waiting = Vec::new();
        for name in names {
            let Some(state) = self.nodes.get_mut(name) else { continue };
            let goes_on = state.is_watching() || state.is_to_watch();
            let is_same = state.seen.watch.wanted.as_ref() == Some(spec);
            // Another one takes the place of what is watched, or was asked for.
            let stays = if goes_on { is_same } else { state.why_no_watch().is_some() };
            if stays {
                continue;
            }
            state.seen.watch.wish(Some(spec.clone()));
            state.refusal = None;
            if goes_on {
                continue;
            }
            if !state.agent.has_tunnel() && state.seen.watch.asked == Asked::Stop {
                // It has not heard of that.
                state.seen.watch.asked = Asked::Nothing;
            }
            if !state.agent.has_tunnel() {
                state.note(now, "watching starts as soon as the agent is live");
                waiting.push(name.clone());
            }
        }
        if let Some(first) = waiting.first() {
            let more = if waiting.len() > 1 { format!(" and {} more", waiting.len() - 1) } else { String::new() };
            let mut notice = Notice::info(format!("{first}{more} is watched as soon as the agent is live"));
            "{watch} cancels it".clone_into(&mut notice.next_step);
            self.notify(notice.naming_keys());
        }
        names.iter().filter_map(|name| self.watch_due(name)).collect()
    }

    /// These are watched no more, or will not be after all.
    pub(crate) fn stop_watching(&mut self, names: &[NodeName]) -> Vec<Effect> {
        let now = self.now;
        let mut effects = Vec::new();
        let mut taken_back = Vec::new();
        for name in names {
            let Some(state) = self.nodes.get_mut(name) else { continue };
            let watch = &mut state.seen.watch;
            watch.wish(None);
            if state.agent.has_tunnel() && (watch.state.is_on() || watch.asked == Asked::Start) {
                watch.asked = Asked::Stop;
                effects.push(Effect::Ask(name.clone(), Request::Watch(None)));
            } else if watch.state.is_on() {
                // Told once its tunnel is back.
                watch.asked = Asked::Stop;
            } else {
                state.note(now, "watching cancelled before it started");
                taken_back.push(name);
            }
        }
        let what = match taken_back.as_slice() {
            [] => None,
            [one] => Some(format!("{one} will not be watched")),
            more => Some(format!("{} will not be watched", text::counted(more.len(), "node"))),
        };
        if let Some(what) = what {
            self.notify(Notice::info(what));
        }
        self.watches_stopped(names);
        effects
    }

    /// Asks an agent to watch that is to, does not or does otherwise, and can be asked.
    fn watch_due(&mut self, name: &NodeName) -> Option<Effect> {
        let now = self.now;
        if self.is_leaving() {
            return None;
        }
        let state = self.nodes.get_mut(name)?;
        let watch = &mut state.seen.watch;
        let spoken = watch.said || now.saturating_sub(watch.up_since) >= SAYS_WITHIN;
        let spec = watch.wanted.clone()?;
        let does = match (watch.asked, &watch.state) {
            (Asked::Start, _) => watch.sent.as_ref() == Some(&spec),
            (Asked::Nothing, WatchState::On { .. }) => !watch.changed,
            (Asked::Nothing | Asked::Stop, _) => false,
        };
        if !spoken || !state.agent.has_tunnel() || does {
            return None;
        }
        if let Some(CaptureAbility::Missing { right, next_step }) = state.facts.as_ref().map(|facts| &facts.capture) {
            watch.wish(None);
            let notice = Notice::error(format!("{name} is not watched"), format!("the agent lacks {right}"), next_step)
                .of(Failure::NotPermitted);
            state.refusal = Some(notice.clone());
            self.notify(notice);
            return None;
        }
        (watch.asked, watch.sent) = (Asked::Start, Some(spec.clone()));
        Some(Effect::Ask(name.clone(), Request::Watch(Some(spec))))
    }

    /// The same on all nodes, for agents that have not said how they stand.
    pub(super) fn watches_due(&mut self) -> Vec<Effect> {
        let is_wanted = |state: &&NodeState| state.seen.watch.is_wanted();
        let wanted = self.nodes.values().filter(is_wanted);
        let names: Vec<NodeName> = wanted.map(|state| state.node.name.clone()).collect();
        names.iter().filter_map(|name| self.watch_due(name)).collect()
    }

    /// An agent has said how its watching stands.
    pub(super) fn watch_told(&mut self, name: &NodeName, told: WatchState) -> Option<Effect> {
        let now = self.now;
        let state = self.nodes.get_mut(name)?;
        let watch = &mut state.seen.watch;
        let first = !std::mem::replace(&mut watch.said, true);
        let before = std::mem::replace(&mut watch.state, told.clone());
        match told {
            WatchState::On { spec, .. } => {
                if watch.asked == Asked::Stop {
                    // Over a tunnel that is new it has not heard of it.
                    return first.then(|| Effect::Ask(name.clone(), Request::Watch(None)));
                }
                let is_wanted = watch.wanted.as_ref().is_none_or(|wanted| *wanted == spec);
                if is_wanted && watch.asked == Asked::Start {
                    watch.asked = Asked::Nothing;
                }
                // One that watches already goes on to, also when its agent is replaced; and so does what somebody else
                // wants of it. A newer wish of this side takes its place.
                if is_wanted || !watch.changed {
                    watch.watches(spec);
                }
                if !before.is_on() {
                    state.note_act(now, "watching".to_owned());
                }
                self.watch_due(name)
            }
            WatchState::Off => {
                if watch.asked == Asked::Stop {
                    watch.asked = Asked::Nothing;
                }
                if before.is_on() {
                    state.note_act(now, "watching has ended".to_owned());
                }
                let watch = &mut state.seen.watch;
                // Somebody else has ended it; what comes first over a tunnel is only how it stands.
                if !first && before.is_on() && watch.asked == Asked::Nothing {
                    watch.wish(None);
                }
                self.watch_due(name)
            }
            WatchState::Failed { message } => {
                let is_new = before != watch.state;
                watch.asked = Asked::Nothing;
                watch.wish(None);
                if is_new {
                    let notice =
                        Notice::error(format!("watching {name} has failed"), message, "{answers} starts it again");
                    let notice = notice.naming_keys();
                    state.note(now, notice.fact());
                    state.refusal = Some(notice.clone());
                    self.notify(notice);
                }
                None
            }
        }
    }

    /// What came of asking an agent to watch, or not to; a new state comes as an update of its own.
    pub(super) fn watch_answered(&mut self, name: &NodeName, spec: Option<&WatchSpec>, response: Option<Response>) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return };
        let watch = &mut state.seen.watch;
        // Of what was wanted before.
        if watch.wanted.as_ref() != spec {
            return;
        }
        let goes_on = match &watch.state {
            WatchState::On { spec, .. } => Some(spec.clone()),
            WatchState::Off | WatchState::Failed { .. } => None,
        };
        // A tunnel that was cut is asked again once it is back.
        let refusal = match response {
            Some(Response::Refused(refusal)) => refusal,
            Some(_) if spec.is_some() && goes_on.as_ref() == spec => {
                // What it watched already, of which it says nothing new.
                (watch.asked, watch.changed) = (Asked::Nothing, false);
                return;
            }
            Some(_) | None => return,
        };
        let start = spec.is_some();
        watch.asked = Asked::Nothing;
        match goes_on {
            Some(goes_on) if start => watch.watches(goes_on),
            _ => watch.wish(None),
        }
        let failure = match refusal.kind {
            RefusalKind::Invalid => Failure::BadInput,
            RefusalKind::NotPermitted => Failure::NotPermitted,
            RefusalKind::State | RefusalKind::Failed => Failure::Other,
        };
        let headline = format!("{name} {}", if start { "did not begin to watch" } else { "did not stop watching" });
        let notice = Notice::error(headline, refusal.message, refusal.next_step).of(failure);
        state.note(now, notice.line());
        state.refusal = Some(notice.clone());
        self.notify(notice);
    }
}
