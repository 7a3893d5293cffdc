//! Starts that were asked for before they could be made: of captures on nodes whose agent is still to come, or whose
//! filter's hosts are still being looked up.
//!
//! Owns what waits on a node, when it is done, and how it is taken back. What is done is taken out of the node's state
//! first, so that no news, however often it comes, does it twice. Pure.

use std::collections::BTreeSet;

use nodewatch_protocol::{CaptureAbility, CaptureSpec, Request, WatchSpec};

use super::{
    Effect, Session,
    node::{Agent, Asked, NodeState, Pending},
};
use crate::{
    base::text,
    model::{Failure, NodeName, Notice},
};

/// Why no capture is started where one runs.
const RUNS_ALREADY: &str = "a capture is already running";

/// What a deployment is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// Agents, and nothing more.
    Agent,
    /// Captures on these nodes, of which some may have an agent already.
    Captures {
        /// All nodes that are to capture.
        on: Vec<NodeName>,
        /// What.
        spec: Box<CaptureSpec>,
        /// What becomes of captures that run there.
        running: Running,
    },
    /// The network state of these nodes, of which some may have an agent already.
    Bundle {
        /// All nodes whose state is to be taken.
        on: Vec<NodeName>,
    },
    /// Watching these nodes, of which some may have an agent already.
    Watch {
        /// All nodes that are to be watched.
        on: Vec<NodeName>,
        /// What of them.
        spec: Box<WatchSpec>,
    },
}

/// What becomes of a capture that runs where another one is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// It goes on, and there is no other one.
    Stays,
    /// The other one takes its place.
    IsReplaced,
}

impl NodeState {
    /// Why a capture cannot be asked for there now; `None` when it can, at once or as soon as there is an agent.
    fn why_no_start(&self) -> Option<&'static str> {
        match (&self.agent, self.asked) {
            (Agent::Live, Asked::Start) => Some("a capture was requested; the agent has not answered yet"),
            (Agent::Live, Asked::Stop) => Some("its capture is being stopped"),
            (Agent::Live, Asked::Nothing) if self.is_capturing() => Some(RUNS_ALREADY),
            (Agent::Lost { .. } | Agent::Connecting, _) if self.is_capturing() => {
                Some("its tunnel is lost; its capture continues")
            }
            _ if !self.present && self.agent.is_missing() => Some("the node has left the cluster"),
            _ => None,
        }
    }

    /// What the capture that is to start waits for; `None` when there is none. Names keys.
    pub fn waits_for(&self) -> Option<&'static str> {
        match (&self.pending, &self.agent) {
            (Pending::Nothing, _) => None,
            (Pending::Replacing(_), _) => {
                Some("the capture starts once the one that runs has ended; {capture} cancels it")
            }
            (Pending::Resolving { .. }, Agent::Live) => {
                Some("the capture starts once the host names in its filter are resolved; {capture} cancels it")
            }
            _ => Some("the capture starts as soon as the agent is live; {capture} cancels it"),
        }
    }

    /// A capture runs there in whose place another one can be started.
    pub fn can_replace(&self) -> bool {
        self.why_no_start() == Some(RUNS_ALREADY)
    }

    /// A capture can be asked for there now, at once or as soon as there is an agent.
    pub(super) fn can_start(&self) -> bool {
        self.why_no_start().is_none()
    }

    /// A capture is to start there and has not.
    pub fn is_to_start(&self) -> bool {
        self.pending != Pending::Nothing
    }
}

impl Session {
    /// Those of these nodes where a capture can be started; when there are none, a notice says why.
    pub(crate) fn startable(&mut self, names: &[NodeName]) -> Vec<NodeName> {
        let fit = self.able_to_run(names);
        if fit.is_empty() && !names.is_empty() {
            return Vec::new();
        }
        let mut why = None;
        let mut running = false;
        let mut more = 0;
        let mut able = Vec::new();
        for name in fit {
            match self.nodes.get(&name).map(NodeState::why_no_start) {
                Some(None) => able.push(name),
                Some(Some(reason)) if why.is_none() => {
                    running = reason == RUNS_ALREADY;
                    why = Some(format!("{name}: {reason}"));
                }
                Some(Some(_)) => more += 1,
                None => {}
            }
        }
        if able.is_empty() {
            let mut cause = why.unwrap_or_else(|| "no node selected".to_owned());
            if more > 0 {
                cause = format!("{cause}; {more} more cannot start one now");
            }
            let next_step = if running { "{capture} stops it" } else { "" };
            self.notify(Notice::warning("no capture was started", cause, next_step).naming_keys());
        }
        able
    }

    /// The same on all that are up, as a command asks for it.
    pub(super) fn begin_captures_asked_for(&mut self, names: &[NodeName], spec: &CaptureSpec) -> Vec<Effect> {
        self.captured_everywhere(spec);
        self.begin_captures(names, spec, Running::Stays)
    }

    /// Captures on these nodes, each as soon as it can. Hosts that the filter names are looked up here: no node looks
    /// names up.
    pub(crate) fn begin_captures(&mut self, names: &[NodeName], spec: &CaptureSpec, running: Running) -> Vec<Effect> {
        self.captured_on(names, spec);
        self.capture_of_targets(names, spec);
        self.begin_on(names, spec, running)
    }

    pub(super) fn begin_on(&mut self, names: &[NodeName], spec: &CaptureSpec, running: Running) -> Vec<Effect> {
        let now = self.now;
        let named = spec.filter.as_deref().is_some_and(|filter| !nodewatch_filter::host_names(filter).is_empty());
        let mut waiting = Vec::new();
        let mut chosen = Vec::new();
        for name in names {
            let Some(state) = self.nodes.get_mut(name) else { continue };
            let replaces = running == Running::IsReplaced && state.can_replace();
            if !replaces && state.why_no_start().is_some() {
                continue;
            }
            let spec = Box::new(spec.clone());
            state.pending = match (named, replaces) {
                (true, replaces) => Pending::Resolving { spec, replaces },
                (false, true) => Pending::Replacing(spec),
                (false, false) => Pending::Capture(spec),
            };
            state.refusal = None;
            if !state.agent.has_tunnel() {
                state.note(now, "the capture starts as soon as the agent is live");
                waiting.push(name.clone());
            }
            chosen.push(name.clone());
        }
        if let Some(first) = waiting.first() {
            let more = if waiting.len() > 1 { format!(" and {} more", waiting.len() - 1) } else { String::new() };
            let headline = format!("the capture on {first}{more} starts as soon as the agent is live");
            let mut notice = Notice::info(headline);
            "{capture} cancels it".clone_into(&mut notice.next_step);
            self.notify(notice.naming_keys());
        }
        if named && !chosen.is_empty() {
            return vec![Effect::Resolve(chosen, spec.clone())];
        }
        chosen.iter().flat_map(|name| self.start_pending(name)).collect()
    }

    /// What the hosts of a filter became is shown, and is what agents are told, where that capture is still wanted.
    pub(super) fn resolved(
        &mut self,
        names: &[NodeName],
        asked: &CaptureSpec,
        found: Result<CaptureSpec, Notice>,
    ) -> Vec<Effect> {
        let waits = |state: &NodeState| matches!(&state.pending, Pending::Resolving { spec, .. } if **spec == *asked);
        let names: Vec<&NodeName> = names.iter().filter(|name| self.nodes.get(*name).is_some_and(waits)).collect();
        if names.is_empty() {
            return Vec::new();
        }
        for name in &names {
            if let Some(state) = self.nodes.get_mut(*name) {
                // One that has begun meanwhile was not meant.
                let replaces = matches!(state.pending, Pending::Resolving { replaces: true, .. });
                state.pending = match &found {
                    Ok(spec) if replaces && state.can_replace() => Pending::Replacing(Box::new(spec.clone())),
                    Ok(spec) => Pending::Capture(Box::new(spec.clone())),
                    Err(_) => Pending::Nothing,
                };
                state.refusal = found.as_ref().err().cloned();
            }
        }
        match found {
            Ok(spec) => {
                self.targets_resolved(asked, &spec);
                let filter = spec.filter.unwrap_or_default();
                self.notify(Notice::info(format!("filter with host names resolved: {filter}")));
                names.into_iter().flat_map(|name| self.start_pending(name)).collect()
            }
            Err(notice) => {
                self.notify(notice);
                self.follow_due()
            }
        }
    }

    /// Starts what waits on a node, once its agent is live.
    pub(super) fn start_pending(&mut self, name: &NodeName) -> Vec<Effect> {
        let Some(state) = self.nodes.get_mut(name) else { return Vec::new() };
        match &state.pending {
            Pending::Capture(_) | Pending::Replacing(_) if !state.agent.has_tunnel() => return Vec::new(),
            Pending::Replacing(_) if state.can_replace() => {
                state.asked = Asked::Stop;
                return vec![Effect::Ask(name.clone(), Request::StopCapture)];
            }
            // It is being stopped, or has not said yet that it has ended.
            Pending::Replacing(_) if state.is_capturing() => return Vec::new(),
            Pending::Capture(_) | Pending::Replacing(_) => {}
            Pending::Nothing | Pending::Resolving { .. } => return Vec::new(),
        }
        let (Pending::Capture(spec) | Pending::Replacing(spec)) = std::mem::take(&mut state.pending) else {
            return Vec::new();
        };
        if let Some(CaptureAbility::Missing { right, next_step }) = state.facts.as_ref().map(|facts| &facts.capture) {
            let notice = Notice::error(format!("no capture on {name}"), format!("the agent lacks {right}"), next_step)
                .of(Failure::NotPermitted);
            state.refusal = Some(notice.clone());
            self.notify(notice);
            return Vec::new();
        }
        if let Some(why) = state.why_no_start() {
            self.notify(Notice::warning(format!("no capture was started on {name}"), why, ""));
            return Vec::new();
        }
        state.asked = Asked::Start;
        let spec = self.for_targets(name, *spec);
        vec![Effect::Ask(name.clone(), Request::StartCapture(spec))]
    }

    /// The key that asked for it, again: it does not start. Its agent comes up all the same.
    pub(crate) fn take_back(&mut self, names: &[NodeName]) -> Vec<Effect> {
        let now = self.now;
        for name in names {
            if let Some(state) = self.nodes.get_mut(name) {
                state.pending = Pending::Nothing;
                state.note(now, "capture cancelled before it started");
            }
            self.showing.to_follow.remove(name);
        }
        self.captures_stopped(names);
        let what = match names {
            [one] => format!("cancelled the capture on {one} before it started"),
            more => format!("cancelled {} before they started", text::counted(more.len(), "capture")),
        };
        self.notify(Notice::info(what));
        self.targets_left(names)
    }

    /// Nothing starts any more: the session is being left.
    pub(super) fn drop_pending(&mut self) {
        let now = self.now;
        self.showing.to_follow.clear();
        for state in self.nodes.values_mut().filter(|state| state.is_to_start()) {
            state.pending = Pending::Nothing;
            state.note(now, "pending capture cancelled: leaving the session");
        }
        for state in self.nodes.values_mut().filter(|state| state.is_to_watch()) {
            state.seen.watch.wish(None);
        }
    }

    /// The captures of these nodes are followed in the viewer, once each of them runs or never will.
    pub(crate) fn follow_once_they_run(&mut self, names: BTreeSet<NodeName>) {
        self.showing.to_follow = names;
    }

    /// Follows captures that were started to be followed, once each of them runs or never will.
    pub(super) fn follow_due(&mut self) -> Vec<Effect> {
        let starting = |name: &NodeName| {
            self.nodes.get(name).is_some_and(|state| state.is_to_start() || state.asked == Asked::Start)
        };
        if self.showing.to_follow.is_empty() || self.showing.to_follow.iter().any(starting) {
            return Vec::new();
        }
        let names = std::mem::take(&mut self.showing.to_follow);
        let runs = |name: &NodeName| {
            self.nodes.get(name).is_some_and(|state| state.agent.has_tunnel() && state.is_capturing())
        };
        let names: Vec<NodeName> = names.into_iter().filter(runs).collect();
        self.show(names)
    }
}
