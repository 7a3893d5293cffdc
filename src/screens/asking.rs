//! What keys ask of nodes: agents, captures, their files, and the questions that come first.
//!
//! Owns which nodes a key is about. Pure.

use nodewatch_protocol::{CaptureSpec, Content, WatchSpec};

use super::{
    App, Confirm, Layer, Screen,
    dialogs::{
        form::{CaptureForm, Field},
        typed::Purpose,
    },
};
use crate::{
    base::text,
    model::{NodeName, Notice, Place},
    session::{
        Effect, Permission,
        node::{Asked, NodeState},
        pending::{Goal, Running},
    },
};

impl App {
    /// Stops where captures run or are to start, otherwise starts with the remembered options.
    pub(super) fn toggle_capture(&mut self) -> Vec<Effect> {
        let targets = self.targets();
        let of = |so: fn(&NodeState) -> bool| -> Vec<NodeName> {
            targets.iter().filter(|name| self.session.nodes.get(*name).is_some_and(so)).cloned().collect()
        };
        let waiting = of(NodeState::is_to_start);
        // One that is to be replaced goes on when what was to replace it is taken back.
        let running = of(|state| {
            state.agent.has_tunnel() && state.is_capturing() && state.asked != Asked::Stop && !state.is_to_start()
        });
        let mut effects = if waiting.is_empty() { Vec::new() } else { self.session.take_back(&waiting) };
        match running.len() {
            0 if waiting.is_empty() => {
                let able = self.session.startable(&targets);
                self.start_with_form(&able)
            }
            0 => effects,
            1 if !self.holds_unsaved(&running) => {
                effects.extend(self.session.stop_captures(running));
                effects
            }
            _ => {
                self.open(Layer::Confirm(Confirm::StopCaptures(running)));
                effects
            }
        }
    }

    /// Watches no more where nodes are watched or are to be, otherwise watches them.
    pub(super) fn toggle_watch(&mut self) -> Vec<Effect> {
        let targets = self.targets();
        let of = |so: fn(&NodeState) -> bool| -> Vec<NodeName> {
            targets.iter().filter(|name| self.session.nodes.get(*name).is_some_and(so)).cloned().collect()
        };
        let (waiting, running) = (of(NodeState::is_to_watch), of(NodeState::is_watching));
        match (waiting.is_empty(), running.len()) {
            (true, 0) => self.watch_nodes(&targets),
            (_, 0 | 1) => self.session.stop_watching(&[waiting, running].concat()),
            (_, _) => {
                self.open(Layer::Confirm(Confirm::StopWatching([waiting, running].concat())));
                Vec::new()
            }
        }
    }

    /// Takes the bundles of what is meant, deploying where there is no agent.
    pub(super) fn take_bundles(&mut self) -> Vec<Effect> {
        let targets = self.targets();
        if targets.is_empty() {
            self.session.notify(Notice::warning("no bundle was taken", "no node selected", ""));
            return Vec::new();
        }
        let able = self.session.able_to_run(&targets);
        let missing = self.session.without_agent(&able);
        if missing.is_empty() {
            return self.session.take_bundles(&able);
        }
        self.deploy_if_permitted(missing, Goal::Bundle { on: able })
    }

    /// Watches those that can be.
    pub(super) fn watch_nodes(&mut self, names: &[NodeName]) -> Vec<Effect> {
        let able = self.session.watchable(names);
        if able.is_empty() { Vec::new() } else { self.ask_deploy_for_watch(able) }
    }

    /// Deploys where there is no agent, after what questions that takes, and watches.
    fn ask_deploy_for_watch(&mut self, names: Vec<NodeName>) -> Vec<Effect> {
        let spec = WatchSpec::default();
        let missing = self.session.without_agent(&names);
        let later = self.session.joining.is_wanted() && !self.session.joining.is_active();
        if missing.is_empty() && !later {
            return self.session.watch(&names, &spec);
        }
        self.deploy_if_permitted(missing, Goal::Watch { on: names, spec: Box::new(spec) })
    }

    /// What a flight recorder there holds would be dropped, or is just being saved.
    fn holds_unsaved(&self, names: &[NodeName]) -> bool {
        let now = self.session.now;
        let states = names.iter().filter_map(|name| self.session.nodes.get(name));
        states.into_iter().any(|state| state.unsaved(now).is_some() || state.saving(now).is_some())
    }

    /// With the options as they were last; where they cannot be read any more the form is opened.
    pub(super) fn start_with_form(&mut self, names: &[NodeName]) -> Vec<Effect> {
        if names.is_empty() {
            return Vec::new();
        }
        let mut form = self.form.clone();
        if let Some(spec) = form.submit(self.session.ring_bytes()) {
            if let Some(what) = self.remembered() {
                let where_ = match names {
                    [one] => one.to_string(),
                    more => text::counted(more.len(), "node"),
                };
                let mut notice = Notice::info(format!("capture on {where_}: {what}, as last time"));
                "{capture-options} changes it".clone_into(&mut notice.next_step);
                self.session.notify(notice.naming_keys());
            }
            return self.ask_start_captures(names, spec, Running::Stays);
        }
        self.show_form(form, names.to_vec());
        Vec::new()
    }

    /// The form is about these nodes, wherever the cursor goes while it is open.
    fn show_form(&mut self, mut form: CaptureForm, on: Vec<NodeName>) {
        form.on = on;
        self.open(Layer::Form(Box::new(form)));
    }

    /// The nodes that a form is about. Where those that join are meant too, they are.
    pub fn form_targets(&self, form: &CaptureForm) -> Vec<NodeName> {
        if self.session.joining.is_wanted() {
            return self.targets();
        }
        form.on.iter().filter(|name| self.session.nodes.contains_key(*name)).cloned().collect()
    }

    /// What the next capture takes that nobody is asked about, where that is not everything.
    pub fn remembered(&self) -> Option<String> {
        let filter = self.form.value(Field::Filter).trim();
        let recorder = self.form.value(Field::Recorder).trim();
        let recorder = (!matches!(recorder, "" | "off")).then(|| format!("flight recorder {recorder}"));
        let parts: Vec<String> = (!filter.is_empty()).then(|| filter.to_owned()).into_iter().chain(recorder).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Opens the form, where a capture can ever be started.
    pub(super) fn open_form(&mut self) {
        let targets = self.targets();
        if targets.is_empty() {
            self.session.notify(Notice::warning("no capture was started", "no node selected", ""));
        } else if !self.session.able_to_run(&targets).is_empty() {
            self.show_form(self.form.clone().opened(), targets);
        }
    }

    /// Payloads are asked about once a session.
    pub(super) fn ask_start_captures(
        &mut self,
        names: &[NodeName],
        spec: CaptureSpec,
        running: Running,
    ) -> Vec<Effect> {
        let replaced: Vec<NodeName> = match running {
            Running::Stays => Vec::new(),
            Running::IsReplaced => self.replaced(names),
        };
        let others: Vec<NodeName> = names.iter().filter(|name| !replaced.contains(name)).cloned().collect();
        let mut names = if others.is_empty() { Vec::new() } else { self.session.startable(&others) };
        names.extend(replaced);
        if names.is_empty() {
            return Vec::new();
        }
        if spec.content == Content::Full && !self.choices.full_content {
            self.open(Layer::Confirm(Confirm::FullContent(names, Box::new(spec), running)));
            return Vec::new();
        }
        self.ask_deploy_for_captures(names, spec, running)
    }

    /// Those of these nodes where a capture runs in whose place another one can be started.
    pub fn replaced(&self, names: &[NodeName]) -> Vec<NodeName> {
        let runs = |name: &&NodeName| self.session.nodes.get(*name).is_some_and(NodeState::can_replace);
        names.iter().filter(runs).cloned().collect()
    }

    /// Saves the last seconds of all armed recorders; where nodes are marked, of theirs. The moment does not come back.
    pub(super) fn freeze_recorders(&mut self) -> Vec<Effect> {
        let chosen = !self.session.marks.is_empty();
        let names: Vec<NodeName> = self
            .session
            .nodes
            .iter()
            .filter(|(name, state)| state.has_recorder() && (!chosen || self.session.marks.contains(*name)))
            .map(|(name, _)| name.clone())
            .collect();
        if names.is_empty() {
            let arming = self.session.nodes.values().any(|state| state.is_to_start() || state.asked == Asked::Start);
            let cause = match (arming, chosen) {
                (true, _) => "no flight recorder is armed yet",
                (false, true) => "no flight recorder is armed on the marked nodes",
                (false, false) => "no flight recorder is armed",
            };
            let next_step = "{capture-options} arms one, deploying first where needed: enter the time to keep as \
                             flight recorder";
            self.session.notify(Notice::warning("nothing to freeze", cause, next_step).naming_keys());
        }
        self.session.freeze(names)
    }

    /// Follows the chosen running captures in the viewer; where none runs they are started for it.
    pub(super) fn follow_captures(&mut self) -> Vec<Effect> {
        let targets = self.targets();
        let of = |so: fn(&NodeState) -> bool| -> Vec<NodeName> {
            targets.iter().filter(|name| self.session.nodes.get(*name).is_some_and(so)).cloned().collect()
        };
        let running = of(|state| state.agent.has_tunnel() && state.is_capturing());
        if !running.is_empty() {
            return self.session.show(running);
        }
        let starting = of(|state| state.is_to_start() || state.asked == Asked::Start);
        if !starting.is_empty() {
            self.past.to_follow = starting.into_iter().collect();
            self.session.notify(Notice::info("the viewer opens once the capture is running"));
            return Vec::new();
        }
        // Elsewhere the chosen nodes are not on the screen.
        let seen = matches!(self.screen, Screen::Nodes | Screen::Node(_));
        if !seen || self.session.permission == Permission::ReadOnly {
            let next_step = "{capture} starts one from the node list";
            let notice = Notice::warning("nothing to follow", "no capture is running on the selected nodes", next_step);
            self.session.notify(notice.naming_keys());
            return Vec::new();
        }
        let able = self.session.startable(&targets);
        self.past.to_follow = able.iter().cloned().collect();
        self.start_with_form(&able)
    }

    /// One node is one keystroke; several are asked about first.
    pub(super) fn ask_deploy(&mut self) -> Vec<Effect> {
        let targets = self.targets();
        let able = self.session.able_to_run(&targets);
        if able.is_empty() && !targets.is_empty() {
            return Vec::new();
        }
        let names = self.session.without_agent(&able);
        // Those that join later are still to be asked about.
        let later = self.session.joining.is_wanted() && !self.session.joining.is_active();
        if names.is_empty() && !later {
            let headline = match targets.as_slice() {
                [] => "nothing to deploy: no node selected",
                _ => "nothing to deploy: every selected node has an agent or is getting one",
            };
            self.session.notify(Notice::info(headline));
            return Vec::new();
        }
        self.deploy_if_permitted(names, Goal::Agent)
    }

    /// Deploys where there is no agent, after what questions that takes, and captures.
    pub(super) fn ask_deploy_for_captures(
        &mut self,
        names: Vec<NodeName>,
        spec: CaptureSpec,
        running: Running,
    ) -> Vec<Effect> {
        let missing = self.session.without_agent(&names);
        let later = self.session.joining.is_wanted() && !self.session.joining.is_active();
        if missing.is_empty() && !later {
            return self.session.begin_captures(&names, &spec, running);
        }
        self.deploy_if_permitted(missing, Goal::Captures { on: names, spec: Box::new(spec), running })
    }

    /// Deploys where that needs no further word, otherwise asks for it.
    pub(super) fn deploy_if_permitted(&mut self, nodes: Vec<NodeName>, goal: Goal) -> Vec<Effect> {
        match (&self.session.permission, &self.session.terms.place) {
            (Permission::ReadOnly, _) => {
                self.refuse_read_only();
                Vec::new()
            }
            // Before anything is made: it can work only where somebody has loaded it.
            (_, Place::Cluster { .. })
                if self.session.image.is_default
                    && self.session.life.began.is_none()
                    && !self.choices.default_image =>
            {
                self.open(Layer::Confirm(Confirm::DefaultImage(nodes, goal)));
                Vec::new()
            }
            (Permission::Guarded, Place::Cluster { context, .. }) => {
                let context = context.clone();
                self.ask_typed(Purpose::Deploy { context, nodes, goal });
                Vec::new()
            }
            // More rights than usual are asked about each time.
            (Permission::Guarded | Permission::Free, _)
                if nodes.len() != 1 || self.session.terms.processes || self.session.joining.is_wanted() =>
            {
                self.open(Layer::Confirm(Confirm::Deploy(nodes, goal)));
                Vec::new()
            }
            (Permission::Guarded | Permission::Free, _) => self.session.deploy_for(&nodes, goal),
        }
    }

    pub(super) fn refuse_read_only(&mut self) {
        self.session.notify(Notice::warning("nothing was changed", "this is read-only", "start without --read-only"));
    }
}
