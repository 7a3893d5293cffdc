//! A node's agent from its deployment to its end: one state machine, fed by its pod and its tunnel.
//!
//! Owns what moves an agent from one state to the next. A tunnel that is up is the truth, and nothing that is said of a
//! pod moves it; an agent that has ended stays so until another one is deployed or its Job makes another pod. Pure.

use nodewatch_protocol::{CaptureFile, CaptureState, Request, SinkState, Update};

use super::{
    Effect, Session,
    files::Missed,
    grant::GrantState,
    node::{Agent, NodeState, Pending},
    pending::Goal,
};
use crate::{
    base::text,
    model::{DeployProgress, FetchProgress, Node, NodeName, Notice, Place, TunnelChange},
};

impl Session {
    /// Those of these nodes that an agent can run on; the others are named, with the reason.
    pub(crate) fn able_to_run(&mut self, names: &[NodeName]) -> Vec<NodeName> {
        let reason = |name: &NodeName| self.nodes.get(name).and_then(|state| state.node.cannot_run());
        let unable: Vec<(&NodeName, String)> =
            names.iter().filter_map(|name| Some((name, reason(name)?.to_string()))).collect();
        if let Some((name, reason)) = unable.first() {
            let others = match unable.len() {
                1 => String::new(),
                more => format!(" and {}", text::counted(more - 1, "other selected node")),
            };
            let (headline, reason) = (format!("no agent can run on {name}{others}"), reason.clone());
            self.notify(Notice::warning(headline, reason, "select other nodes"));
        }
        let able = |name: &&NodeName| self.nodes.get(*name).is_none_or(|state| state.node.cannot_run().is_none());
        names.iter().filter(able).cloned().collect()
    }

    /// Those of these nodes that have no agent which works, or may yet.
    pub(crate) fn without_agent(&self, names: &[NodeName]) -> Vec<NodeName> {
        let missing = |name: &&NodeName| self.nodes.get(*name).is_some_and(|state| state.agent.is_missing());
        names.iter().filter(missing).cloned().collect()
    }

    /// Deploys where there is still no agent, and then what the deployment is for. A question may have waited for long.
    pub(crate) fn deploy_for(&mut self, names: &[NodeName], goal: Goal) -> Vec<Effect> {
        let names = self.without_agent(names);
        // Where all have one, those that join later are what was asked about.
        self.deployed_to(&names);
        let mut effects = if names.is_empty() { Vec::new() } else { self.deploy(names) };
        match goal {
            Goal::Agent => {}
            Goal::Captures { on, spec, running } => effects.extend(self.begin_captures(&on, &spec, running)),
            Goal::Bundle { on } => effects.extend(self.take_bundles(&on)),
            Goal::Watch { on, spec } => effects.extend(self.watch(&on, &spec)),
        }
        effects
    }

    /// Starts agents on these nodes.
    pub(super) fn deploy(&mut self, names: Vec<NodeName>) -> Vec<Effect> {
        let now = self.now;
        self.life.begin(now, &self.terms);
        self.deployed_to(&names);
        for name in &names {
            if let Some(state) = self.nodes.get_mut(name) {
                // What another one had is its own.
                if state.agent.is_deployed() {
                    self.agent_is_over(name, "its agent was replaced");
                }
            }
            if let Some(state) = self.nodes.get_mut(name) {
                state.agent = Agent::Deploying("requested".to_owned());
                state.fate.found = false;
                state.refusal = None;
                state.note(now, "deployment requested");
            }
        }
        vec![Effect::Deploy(names)]
    }

    pub(super) fn deploy_progress(&mut self, name: &NodeName, progress: DeployProgress) -> Vec<Effect> {
        let now = self.now;
        let (taken_up, heard_until) = (self.life.attached.is_some(), self.heard_until());
        // A session that is taken up knows its nodes before the list does.
        let state = self.nodes.entry(name.clone()).or_insert_with(|| NodeState::new(Node::named(name.clone())));
        if taken_up && state.agent == Agent::Absent {
            state.fate.found = true;
            state.ports.heard_until = heard_until;
            self.take_up_ring(name);
        }
        let Some(state) = self.nodes.get_mut(name) else { return Vec::new() };
        match (progress, &state.agent) {
            (DeployProgress::Step(step), Agent::Absent | Agent::Deploying(_) | Agent::Failed(_) | Agent::Ended(_)) => {
                if state.agent != Agent::Deploying(step.clone()) {
                    state.note(now, step.clone());
                    state.agent = Agent::Deploying(step);
                }
            }
            (DeployProgress::Step(step), _) => {
                if state.log.events.back().is_none_or(|last| last.text != step) {
                    state.note(now, step);
                }
            }
            (DeployProgress::Told(notice), _) => self.notify(notice),
            (DeployProgress::Image(image), _) => drop(state.log.images.insert(image)),
            (DeployProgress::Running, Agent::Live | Agent::Lost { .. } | Agent::Connecting) => {}
            (DeployProgress::Running, _) => {
                state.note(now, "the agent's container is running");
                state.agent = Agent::Connecting;
            }
            // What is said of a pod whose agent answers is not so, or not so any more.
            (DeployProgress::Failed(notice), Agent::Live) => state.note(now, notice.line()),
            (DeployProgress::Failed(notice), before) => {
                let known = if let Agent::Failed(known) = before { Some(known) } else { None };
                let is_noted = known == Some(&notice);
                // The same failure in other words, as of a pull that is tried again, is told once.
                let is_told = known.is_some_and(|known| known.headline == notice.headline);
                state.agent = Agent::Failed(notice.clone());
                if !is_noted {
                    state.note(now, if notice.names_keys { notice.fact() } else { notice.line() });
                }
                if !is_told {
                    let notice = self.no_start_after(name, notice);
                    self.notify(notice);
                }
            }
            (DeployProgress::Ending(reason), Agent::Live) => {
                let notice = state.node.notice();
                let reason = notice.map_or_else(|| reason.clone(), |notice| format!("{reason}; {notice}"));
                return self.agent_is_ending(name, reason);
            }
            (DeployProgress::Ending(reason) | DeployProgress::Ended(reason), _) => self.agent_ended(name, reason),
        }
        Vec::new()
    }

    /// Somebody else ends it. Until it has closed its files and gone, what it has is brought home.
    fn agent_is_ending(&mut self, name: &NodeName, reason: String) -> Vec<Effect> {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return Vec::new() };
        if state.fate.ending.as_ref() == Some(&reason) {
            return Vec::new();
        }
        state.note(now, reason.clone());
        // What is known later of the same end is no news.
        let is_told = state.ending().is_some();
        state.fate.ending = Some(reason.clone());
        if !is_told {
            self.tell_ending(name, reason);
        }
        self.bring_home_what_ends(name)
    }

    /// The agent itself says so, as where its node is shut down and nobody has said anything of its pod yet. It may come back
    /// in the same pod.
    fn agent_told_to_end(&mut self, name: &NodeName) -> Vec<Effect> {
        // Then it is this program that ends it; an agent on this machine ends with its terminal.
        if self.is_leaving() || self.terms.place == Place::Local {
            return Vec::new();
        }
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name).filter(|state| state.fate.told_to_end.is_none()) else {
            return Vec::new();
        };
        let told = "it was told to end (SIGTERM) from outside";
        let reason = state.node.notice().map_or_else(|| told.to_owned(), |notice| format!("{told}; {notice}"));
        state.fate.told_to_end = Some(reason.clone());
        if state.fate.ending.is_none() {
            state.note(now, reason.clone());
            self.tell_ending(name, reason);
        }
        self.bring_home_what_ends(name)
    }

    fn tell_ending(&mut self, name: &NodeName, reason: String) {
        let headline = format!("the agent on {name} is being shut down");
        self.notify(Notice::warning(headline, reason, "fetching its capture files while it is up"));
    }

    /// The closed files of an agent that is being ended and delivers nowhere.
    fn bring_home_what_ends(&mut self, name: &NodeName) -> Vec<Effect> {
        let (keep, most) = (self.terms.files.keep_files, self.ring_bytes());
        let ends = |state: &NodeState| state.ending().is_some();
        let Some(state) = self.nodes.get_mut(name).filter(|state| ends(state) && !keep) else {
            return Vec::new();
        };
        if state.ring.as_ref().is_none_or(|ring| ring.sink != SinkState::Ring) {
            return Vec::new();
        }
        // Nobody has asked for them by name: not more comes than a ring can hold, whatever the agent says.
        let known = |file: &&CaptureFile| state.fetches.contains_key(&file.name);
        let mut left = most.saturating_sub(state.files.iter().filter(known).map(|file| file.size).sum());
        let mut fits = |file: &&CaptureFile| {
            let after = left.checked_sub(file.size);
            left = after.unwrap_or(left);
            after.is_some()
        };
        let wanted: Vec<CaptureFile> =
            state.unfetched().filter(|file| !known(file)).filter(&mut fits).cloned().collect();
        for file in &wanted {
            state.fetches.insert(file.name.clone(), FetchProgress::Bytes(0));
        }
        wanted.into_iter().map(|file| Effect::Fetch(name.clone(), file)).collect()
    }

    fn agent_ended(&mut self, name: &NodeName, reason: String) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return };
        if matches!(state.agent, Agent::Ended(_)) {
            return;
        }
        let headline = format!("the agent on {name} has ended");
        let notice = Notice::warning(headline, reason, "press {deploy} to deploy again").naming_keys();
        state.note(now, notice.fact());
        state.agent = Agent::Ended(notice.clone());
        let told = self.no_start_after(name, notice);
        self.notify(told);
        self.agent_is_over(name, "its agent has ended");
    }

    /// Its ring and its capture went with it; files that nobody else has are lost, which is said at once.
    fn agent_is_over(&mut self, name: &NodeName, why: &str) {
        let (now, wall, sink) = (self.now, self.wall(self.now), self.terms.storage.is_some());
        let Some(state) = self.nodes.get_mut(name) else { return };
        let before = state.gone.former.len();
        state.agent_is_over(now, wall);
        // A sink has what was closed meanwhile.
        if std::mem::take(&mut state.fate.unseen) && !sink {
            state.log.troubles.add(&format!("{why}; what it captured while nobody was attached is lost with it"));
        }
        let files = state.gone.former[before..].iter().map(|file| file.name.clone()).collect();
        self.missed(Missed { node: name.clone(), files, why: why.to_owned() });
        self.no_end_of_bundle(name, why);
    }

    /// Those of these files that nobody has are lost.
    pub(super) fn tell_lost(&mut self, missed: &Missed) {
        let (now, name, why) = (self.now, &missed.node, &missed.why);
        let streamed = self.terms.files.keep_files;
        let Some(state) = self.nodes.get_mut(name) else { return };
        let is_new = |file: &&CaptureFile| missed.files.contains(&file.name);
        let (count, bytes) =
            state.lost_files().filter(is_new).fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.size));
        if count == 0 || streamed {
            return;
        }
        let files = text::counted(count, "capture file");
        let headline = format!("lost {files} of {name} ({})", text::bytes(bytes));
        let notice =
            Notice::error(headline, format!("they were only in its ring, and {why}"), "--s3 delivers while it runs");
        state.note(now, notice.fact());
        self.notify(notice);
    }

    pub(super) fn tunnel_changed(&mut self, name: &NodeName, change: TunnelChange) -> Vec<Effect> {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return Vec::new() };
        // What comes late of an agent that is no more.
        if matches!(state.agent, Agent::Ended(_)) {
            return Vec::new();
        }
        match change {
            TunnelChange::Up(hello) => {
                if let Agent::Lost { since, .. } = state.agent {
                    state.note(now, "tunnel reconnected");
                    state.log.told.outage(since, now);
                } else {
                    let word = if state.fate.found { "attached: " } else { "" };
                    state.note(now, format!("{word}the agent is live, version {}", hello.version));
                }
                state.agent = Agent::Live;
                state.fate.silent = false;
                state.seen.watch.comes_up(now);
                state.seen.signals.comes_up();
                // It may be another process than before, or a session that was left alone.
                state.delivery.grant = GrantState::Nothing;
                state.reporting.told = None;
                state.reporting.live_since.get_or_insert(now);
                let terms = self.terms().map(|terms| Effect::Ask(name.clone(), Request::Terms(terms)));
                let mut effects: Vec<Effect> = terms.into_iter().collect();
                effects.extend(self.grants_due());
                effects
            }
            TunnelChange::Update(update) => self.tunnel_told(name, update),
            TunnelChange::Silent => {
                state.fate.silent = true;
                Vec::new()
            }
            TunnelChange::Heard => {
                state.fate.silent = false;
                Vec::new()
            }
            TunnelChange::Lost { reason } => {
                self.tunnel_lost(name, reason);
                Vec::new()
            }
            TunnelChange::Incompatible(notice) => {
                state.note(now, notice.line());
                state.agent = Agent::Failed(notice.clone());
                let notice = self.no_start_after(name, notice);
                self.notify(Notice { headline: format!("{name}: {}", notice.headline), ..notice });
                Vec::new()
            }
        }
    }

    fn tunnel_told(&mut self, name: &NodeName, update: Update) -> Vec<Effect> {
        let now = self.now;
        if let Update::Watch(told) = update {
            return self.watch_told(name, told).into_iter().collect();
        }
        if update == Update::Ending {
            return self.agent_told_to_end(name);
        }
        let Some(state) = self.nodes.get_mut(name) else { return Vec::new() };
        let files = matches!(update, Update::Files(_) | Update::FilesChanged { .. });
        let reports = matches!(update, Update::Reports(_));
        // The first that is heard of its capture says whether one runs already.
        let capture = matches!(update, Update::Capture(_));
        if let Update::Agent(facts) = &update {
            let another = state.ring_is_another(&facts.ring);
            if another {
                self.agent_is_over(name, "its agent was replaced");
            }
        }
        let Some(state) = self.nodes.get_mut(name) else { return Vec::new() };
        state.fate.unseen = false;
        let signals = if let Update::Signals(told) = &update { Some(told.clone()) } else { None };
        if let Some(told) = &signals {
            self.forget_signals(name, told);
        }
        if let Update::Symptoms(told) = &update {
            self.hear_symptoms(name, told);
        }
        if let Update::Froze(froze) = &update {
            self.note_freeze(name, froze.freeze);
        }
        let Some(state) = self.nodes.get_mut(name) else { return Vec::new() };
        state.apply(update, now);
        if let Some(signals) = signals {
            self.hear_signals(name, &signals);
            return Vec::new();
        }
        if files {
            let mut effects = self.bring_frozen_home(name);
            effects.extend(self.bring_home_what_ends(name));
            effects.extend(self.bring_closed_home(name));
            effects.extend(self.look_for_fetched(name));
            return effects;
        }
        if reports {
            self.tell_reports();
        }
        if !capture {
            return Vec::new();
        }
        let mut effects = self.freeze_due(name);
        effects.extend(self.start_pending(name));
        effects.extend(self.bundle_due(name));
        effects
    }

    fn tunnel_lost(&mut self, name: &NodeName, reason: String) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return };
        // A pod that is known to have failed says more than its missing tunnel.
        if matches!(state.agent, Agent::Failed(_) | Agent::Deploying(_)) {
            return;
        }
        if let Some(ending) = state.fate.ending.take() {
            return self.agent_ended(name, ending);
        }
        let (attempts, since) = match &state.agent {
            Agent::Lost { attempts, since, .. } => (attempts + 1, *since),
            _ => (1, now),
        };
        if attempts == 1 {
            state.note(now, format!("tunnel lost: {reason}"));
        }
        state.agent = Agent::Lost { reason: reason.clone(), attempts, since };
        if attempts == 1 {
            // On this machine the agent is a child on that tunnel.
            let (headline, next_step) = match self.terms.place {
                Place::Local => (format!("the agent on {name} has ended"), "starting a new one"),
                Place::Cluster { .. } => (format!("lost the tunnel to {name}"), "reconnecting"),
            };
            self.notify(Notice::warning(headline, reason, next_step));
        }
    }

    /// A deployment came to nothing: what was to start then does not. The notice says so in place of one of its own.
    fn no_start_after(&mut self, name: &NodeName, notice: Notice) -> Notice {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return notice };
        // One that ran goes on to be wanted: its Job may bring it back.
        let watch = state.seen.watch.is_wanted() && matches!(state.agent, Agent::Failed(_));
        let capture = std::mem::take(&mut state.pending) != Pending::Nothing;
        let bundle = self.transfers.bundles.forget(name);
        if watch {
            state.seen.watch.wish(None);
        }
        let (what, cancelled) = match (capture, watch, bundle) {
            (false, false, false) => return notice,
            (true, _, _) => ("no capture on", "pending capture cancelled"),
            (false, true, _) => ("no watching of", "pending watching cancelled"),
            (false, false, true) => ("no bundle of", "pending bundle cancelled"),
        };
        state.note(now, cancelled);
        let notice = Notice { headline: format!("{what} {name}: {}", notice.headline), ..notice };
        state.refusal = Some(notice.clone());
        notice
    }
}

impl NodeState {
    /// A capture that runs, as far as anybody can know now.
    pub fn seems_to_capture(&self) -> bool {
        matches!(self.capture, CaptureState::Running { .. })
            && matches!(self.agent, Agent::Live | Agent::Lost { .. } | Agent::Connecting)
    }
}
