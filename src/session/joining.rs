//! Nodes that join while the session runs, where "all" means these too.
//!
//! Owns whether later nodes are meant, which of them have come, and what each of them gets: the agent, and the capture
//! that runs on the others. Watches and reports are of every live agent, and need nothing of their own. Pure.

use std::collections::{BTreeMap, BTreeSet};

use nodewatch_protocol::{CaptureSpec, Orders, UnixMillis, WatchSpec};

use super::{
    Effect, Listing, Permission, Session,
    node::{Agent, Asked, NodeState},
    pending::Running,
};
use crate::model::{NodeName, Notice, Place, Readiness, StandIn};

/// A live agent has so long to tell its whole picture before it is asked for a capture, in milliseconds.
const SETTLED: UnixMillis = 2_000;
/// A node that came back under its name has so long to get the agent of its earlier Job, in milliseconds.
const RETURNS_WITHIN: UnixMillis = 60_000;

/// How far a node that has joined is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// It is not Ready, since then.
    Waiting,
    /// It is Ready, and what it had under that name before may bring its agent back, until then.
    Returning {
        /// When another one is deployed.
        until: UnixMillis,
    },
    /// No agent can ever run on it, and why.
    PassedOver(String),
    /// Its agent is on its way; the capture comes when it has been live for a moment, since then.
    Agent {
        /// When it was first seen live.
        live: Option<UnixMillis>,
    },
    /// It has what the others have.
    Settled,
}

impl Stage {
    /// For people.
    pub fn text(&self) -> String {
        match self {
            Self::Waiting => "joined but is not Ready: it gets an agent once Ready".to_owned(),
            Self::Returning { .. } => "rejoined under the same name: its agent is expected back".to_owned(),
            Self::PassedOver(why) => format!("joined but was skipped: {why}"),
            Self::Agent { .. } => "joined: adding an agent".to_owned(),
            Self::Settled => "joined and is set up like the others".to_owned(),
        }
    }
}

/// Whether later nodes are meant, and what has come of it.
#[derive(Debug, Clone, Default)]
pub struct Joining {
    /// All nodes are meant, also those that join.
    wanted: bool,
    /// All nodes were given agents, so those that join get one.
    active: bool,
    /// A DaemonSet gives agents to nodes that join.
    pub stood_in: bool,
    /// Every node that is there, by its UID.
    known: BTreeMap<NodeName, Option<String>>,
    /// Names that a node had before.
    earlier: BTreeSet<NodeName>,
    /// Nodes that have joined since, and how far each is.
    joined: BTreeMap<NodeName, Stage>,
    /// The capture that all nodes were given, and when.
    capture: Option<(CaptureSpec, UnixMillis)>,
    /// What is watched on all nodes.
    watch: Option<WatchSpec>,
}

impl Joining {
    /// All nodes are meant, also those that join.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Nodes that join get an agent.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Nodes that have joined since, and how far each is.
    pub fn joined(&self) -> impl Iterator<Item = (&NodeName, &Stage)> {
        self.joined.iter()
    }

    /// What is left now of the capture that all nodes were given.
    pub fn capture_now(&self, now: UnixMillis) -> Option<CaptureSpec> {
        let (spec, since) = self.capture.clone()?;
        let elapsed = now.saturating_sub(since) / 1000;
        let over = spec.limit_seconds.is_some_and(|limit| limit.duration().as_secs() <= elapsed);
        let limit_seconds = spec.limit_seconds.map(|limit| limit.less(elapsed));
        (!over).then_some(CaptureSpec { limit_seconds, ..spec })
    }
}

impl Session {
    /// What nodes that join are to get while nobody is attached; `None` where they are not meant.
    pub(super) fn stand_in(&self) -> Option<StandIn> {
        let joining = &self.joining;
        if !(self.terms.daemonset && joining.active) || self.terms.place == Place::Local {
            return None;
        }
        let runs = self.nodes.values().any(NodeState::is_capturing);
        let (capture, since) = joining.capture.clone().filter(|_| runs).unzip();
        let limit = capture.as_ref().and_then(|spec| spec.limit_seconds);
        let capture_ends =
            limit.zip(since).map(|(limit, since)| self.wall(since + limit.duration().as_millis() as u64));
        let (reports, group_per_node) = self.plan_of_each().unzip();
        // Who waits for an agent of ours gets one there; who can never run one is left alone.
        let served =
            |state: &&NodeState| state.present && (state.agent.is_deployed() || state.node.cannot_run().is_some());
        let besides = self.nodes.values().filter(served).map(|state| state.node.name.clone()).collect();
        let group_per_node = group_per_node.unwrap_or_default();
        let orders = Orders { capture, capture_ends, sink: None, reports, group_per_node };
        Some(StandIn { orders, besides })
    }

    /// From here on "all" is also what joins later.
    pub(crate) fn mean_later_nodes(&mut self) {
        self.joining.wanted = true;
        self.joining.known =
            self.nodes.values().map(|state| (state.node.name.clone(), state.node.uid.clone())).collect();
        self.marks = self.nodes.values().filter(|state| state.present).map(|state| state.node.name.clone()).collect();
    }

    /// Later nodes are not meant any more; what has joined keeps what it has.
    pub(crate) fn forget_joining(&mut self) {
        if self.joining.active {
            self.notify(Notice::info("nodes that join from now on get no agent"));
        }
        self.joining = Joining { stood_in: self.joining.stood_in, ..Joining::default() };
    }

    /// These are all that is marked, as far as it has no agent or needs none.
    fn are_all(&self, names: &[NodeName], passed: impl Fn(&NodeState) -> bool) -> bool {
        let missing = |name: &&NodeName| !names.contains(name) && self.nodes.get(*name).is_some_and(|it| !passed(it));
        self.joining.wanted && !self.marks.iter().any(|name| missing(&name))
    }

    /// Agents were asked for there: where that is everywhere, later nodes get one too.
    pub(super) fn deployed_to(&mut self, names: &[NodeName]) {
        let served = |state: &NodeState| state.agent != Agent::Absent || state.node.cannot_run().is_some();
        self.joining.active |= self.are_all(names, served);
    }

    /// A capture begins there: where that is everywhere, later nodes get it too.
    pub(super) fn captured_on(&mut self, names: &[NodeName], spec: &CaptureSpec) {
        let passed = |state: &NodeState| {
            let ended = matches!(state.agent, Agent::Failed(_) | Agent::Ended(_));
            ended || state.is_capturing() || state.is_to_start() || state.node.cannot_run().is_some()
        };
        if self.are_all(names, passed) {
            self.captured_everywhere(spec);
        }
    }

    /// A capture begins on all nodes that are up. The same one on another node is no new one: it ends when it would have.
    pub(super) fn captured_everywhere(&mut self, spec: &CaptureSpec) {
        let runs = self.joining.capture.as_ref().is_some_and(|(known, _)| known == spec);
        if self.joining.wanted && !(runs && self.joining.capture_now(self.now).is_some()) {
            self.joining.capture = Some((spec.clone(), self.now));
        }
    }

    /// Captures end there: where that is everywhere, later nodes get none.
    pub(super) fn captures_stopped(&mut self, names: &[NodeName]) {
        if self.are_all(names, |state| !state.is_capturing()) {
            self.joining.capture = None;
        }
    }

    /// Nodes are watched: where that is all of them, later nodes are too.
    pub(super) fn watched_on(&mut self, names: &[NodeName], spec: &WatchSpec) {
        let passed = |state: &NodeState| {
            let ended = matches!(state.agent, Agent::Failed(_) | Agent::Ended(_));
            ended || state.seen.watch.is_wanted() || state.node.cannot_run().is_some()
        };
        if self.are_all(names, passed) {
            self.watched_everywhere(spec);
        }
    }

    /// All nodes that are up are watched.
    pub(super) fn watched_everywhere(&mut self, spec: &WatchSpec) {
        if self.joining.wanted {
            self.joining.watch = Some(spec.clone());
        }
    }

    /// Nodes are watched no more: where that is all of them, later nodes are not either.
    pub(super) fn watches_stopped(&mut self, names: &[NodeName]) {
        if self.are_all(names, |state| !state.seen.watch.is_wanted()) {
            self.joining.watch = None;
        }
    }

    /// Gives nodes that have joined what the others have.
    pub(super) fn serve_joined(&mut self) -> Vec<Effect> {
        if !self.joining.wanted || self.listing == Listing::Loading {
            return Vec::new();
        }
        self.see_joined();
        if !self.joining.active || self.permission == Permission::ReadOnly || self.is_leaving() {
            return Vec::new();
        }
        let mut deploy = Vec::new();
        let mut capture = Vec::new();
        let mut watch = Vec::new();
        for name in self.joining.joined.keys().cloned().collect::<Vec<_>>() {
            let Some(before) = self.joining.joined.get(&name).cloned() else { continue };
            let Some(state) = self.nodes.get(&name) else { continue };
            let stage = self.next_stage(state, before.clone());
            if matches!(stage, Stage::Agent { live: None }) && !matches!(before, Stage::Agent { .. }) {
                let served = self.joining.stood_in || state.agent.runs();
                deploy.extend((!served).then(|| name.clone()));
            }
            if stage == Stage::Settled && before != stage && !state.is_capturing() && state.asked == Asked::Nothing {
                capture.push(name.clone());
            }
            if stage == Stage::Settled && before != stage {
                watch.push(name.clone());
            }
            if stage.text() != before.text() && stage != Stage::Settled {
                self.tell_joined(&name, &stage);
            }
            self.joining.joined.insert(name, stage);
        }
        let mut effects = if deploy.is_empty() { Vec::new() } else { self.deploy(deploy) };
        // One that has ended everywhere is over.
        let runs = |state: &NodeState| state.is_capturing() || state.asked == Asked::Start;
        if let Some(spec) = self.joining.capture_now(self.now)
            && !capture.is_empty()
            && self.nodes.values().any(runs)
        {
            effects.extend(self.begin_captures(&capture, &spec, Running::Stays));
        }
        if let Some(spec) = self.joining.watch.clone().filter(|_| !watch.is_empty()) {
            effects.extend(self.watch(&watch, &spec));
        }
        effects
    }

    fn next_stage(&self, state: &NodeState, stage: Stage) -> Stage {
        let now = self.now;
        match stage {
            Stage::Waiting => match state.node.cannot_run() {
                Some(why) => Stage::PassedOver(why.to_string()),
                None if state.node.readiness != Readiness::Ready => Stage::Waiting,
                None if self.joining.earlier.contains(&state.node.name) && state.agent != Agent::Absent => {
                    Stage::Returning { until: now + RETURNS_WITHIN }
                }
                None => Stage::Agent { live: None },
            },
            Stage::Returning { .. } if state.agent == Agent::Live => Stage::Agent { live: Some(now) },
            Stage::Returning { until } if now >= until => Stage::Agent { live: None },
            Stage::Agent { live } if state.agent == Agent::Live => match live {
                None => Stage::Agent { live: Some(now) },
                Some(since) if now.saturating_sub(since) >= SETTLED && state.ring.is_some() => Stage::Settled,
                Some(_) => stage,
            },
            Stage::Agent { .. } => Stage::Agent { live: None },
            Stage::Returning { .. } | Stage::PassedOver(_) | Stage::Settled => stage,
        }
    }

    /// Nodes that are new, by name or by UID, and those that have left.
    fn see_joined(&mut self) {
        let there: BTreeMap<NodeName, Option<String>> = self
            .nodes
            .values()
            .filter(|state| state.present)
            .map(|state| (state.node.name.clone(), state.node.uid.clone()))
            .collect();
        if there == self.joining.known {
            return;
        }
        let before = std::mem::replace(&mut self.joining.known, there.clone());
        for name in before.keys().filter(|name| !there.contains_key(*name)) {
            self.joining.joined.remove(name);
            self.joining.earlier.insert(name.clone());
        }
        for (name, uid) in there {
            match before.get(&name) {
                Some(known) if *known == uid => continue,
                Some(_) => {
                    self.joining.earlier.insert(name.clone());
                }
                None => {}
            }
            self.marks.insert(name.clone());
            if self.joining.active {
                self.joining.joined.insert(name.clone(), Stage::Waiting);
                let stage = self.nodes.get(&name).map(|state| self.next_stage(state, Stage::Waiting));
                if stage == Some(Stage::Waiting) {
                    self.tell_joined(&name, &Stage::Waiting);
                }
            }
        }
    }

    fn tell_joined(&mut self, name: &NodeName, stage: &Stage) {
        let now = self.now;
        if let Some(state) = self.nodes.get_mut(name) {
            state.note(now, stage.text());
        }
        let capture = matches!(stage, Stage::Agent { .. }) && self.joining.capture_now(now).is_some();
        let more = if capture { " and the running capture" } else { "" };
        self.notify(Notice::info(format!("{name} {}{more}", stage.text())));
    }
}
