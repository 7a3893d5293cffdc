//! The one function that changes the app.
//!
//! Owns what each event and each key means. Pure: same app, event and time, same result.

use nodewatch_protocol::{RefusalKind, Request, Response, UnixMillis, Update};

use super::{
    App, Confirm, Overlay, Permission, REMIND_BEFORE, Scope, Screen, View,
    action::{Action, Effect, Event},
    delivery::GrantState,
    filter::Filter,
    node::{Agent, Asked, NodeState},
};
use crate::{
    model::{DeployProgress, Failure, Node, NodeName, Notice, Place, TunnelChange},
    text,
};

/// Takes in one event and says what is to be done.
pub fn update(app: &mut App, event: Event, now: UnixMillis) -> Vec<Effect> {
    app.now = now;
    match event {
        Event::Action(action) => {
            let spot = app.spot();
            let effects = app.act(action);
            if !matches!(action, Action::GoBack | Action::GoForward) {
                app.left(spot);
            }
            app.refresh_ports();
            effects
        }
        Event::Pointed(pointed) => {
            app.pointed(&pointed);
            Vec::new()
        }
        Event::Contexts(found) => {
            app.found_contexts(found);
            Vec::new()
        }
        Event::Nodes(change) => {
            app.nodes_changed(change);
            app.serve_joined()
        }
        Event::Deploy(name, progress) => {
            app.deploy_progress(&name, progress);
            app.check_leaving()
        }
        Event::Tunnel(name, change) => {
            let mut effects = app.tunnel_changed(&name, change);
            effects.extend(app.check_leaving());
            effects
        }
        Event::Answer(name, request, response) => {
            app.answered(&name, &request, response);
            app.check_leaving()
        }
        Event::Fetch(name, file, progress) => {
            app.fetch_progress(&name, file, progress);
            app.check_leaving()
        }
        Event::Granted(name, outcome) => {
            app.granted(&name, outcome);
            app.check_leaving()
        }
        Event::Stored(stored) => {
            app.stored(stored);
            Vec::new()
        }
        Event::Download(key, progress) => {
            app.download_progress(key, progress);
            Vec::new()
        }
        Event::Told(notice) => {
            app.notify(notice);
            if app.screen == Screen::Files { app.list_stored() } else { Vec::new() }
        }
        event @ (Event::Expected(..)
        | Event::Reports(_)
        | Event::Past(_)
        | Event::Alarms(_)
        | Event::CloudStock(..)
        | Event::CloudRemoved(..)) => app.report_event(event),
        event @ (Event::StorageStock(_) | Event::StorageRemoved(_) | Event::InBucket(_) | Event::NoManifest(_)) => {
            app.storage_event(event)
        }
        Event::Removal(removal) => app.removal(removal),
        Event::Stock(stock) => {
            app.stock(stock);
            Vec::new()
        }
        Event::StoodIn(outcome) => app.stood_in(outcome),
        Event::EndsSet(Ok(())) => Vec::new(),
        Event::EndsSet(Err(notice)) => {
            app.notify(notice);
            Vec::new()
        }
        Event::Trusted(session, outcome) => app.trusted(&session, outcome),
        Event::Sessions { found, asked } => {
            app.found_sessions(found, asked);
            Vec::new()
        }
        Event::Sweep(id, removal) => {
            app.swept(&id, &removal);
            Vec::new()
        }
        Event::Attach { began, ends, stood_in } => app.attach(began, ends, stood_in),
        Event::MeanLaterNodes => {
            app.mean_later_nodes();
            Vec::new()
        }
        Event::StopCaptures => app.stop_all_captures(),
        Event::Observe => vec![Effect::Attach],
        Event::Asked(name, request) => app.asked(name, request),
        Event::Tick => app.tick(),
        Event::DeployTo(names) => app.deploy(names),
        Event::StartCaptures(names, spec) => app.start_captures(names, &spec),
        Event::Resolved(names, spec) => app.resolved(names, spec),
        Event::Finish => app.leave(true),
    }
}

impl App {
    fn attach(&mut self, began: UnixMillis, ends: UnixMillis, stood_in: bool) -> Vec<Effect> {
        self.joining.stood_in = stood_in;
        self.session.began = Some(began);
        self.session.ends = Some(ends);
        vec![Effect::Attach]
    }

    /// A second has passed.
    fn tick(&mut self) -> Vec<Effect> {
        let now = self.now;
        for state in self.nodes.values_mut() {
            state.age(now);
        }
        self.remind();
        self.measure_flow();
        self.refresh_ports();
        let mut effects = self.take_stock_again();
        effects.extend(self.expectations_due());
        effects.extend(self.reports_due());
        effects.extend(self.alarms_due());
        effects.extend(self.grants_due());
        effects.extend(self.serve_joined());
        effects.extend(self.check_leaving());
        effects
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Interrupt => return self.interrupt(),
            Action::Suspend => return vec![Effect::Suspend],
            _ => {}
        }
        match self.scope() {
            Scope::Text => self.text_key(action),
            Scope::Dialog => self.dialog_key(action),
            Scope::Reading => {
                match action {
                    Action::Up => self.scroll = self.scroll.saturating_sub(1),
                    Action::Down => self.scroll += 1,
                    Action::PageUp => self.scroll = self.scroll.saturating_sub(10),
                    Action::PageDown => self.scroll += 10,
                    Action::Back | Action::Quit | Action::Open | Action::Help | Action::Notices | Action::History => {
                        self.overlay = None;
                        self.scroll = 0;
                    }
                    _ => {}
                }
                Vec::new()
            }
            Scope::List => {
                if self.move_in_list(action) {
                    return Vec::new();
                }
                match action {
                    Action::Open => self.screen = self.cursor.clone().map_or(Screen::Nodes, Screen::Node),
                    Action::Back if !self.filter.0.is_empty() => {
                        self.filter = (String::new(), Filter::All);
                        self.settle_cursor();
                    }
                    Action::Back if self.layout.faults_only => {
                        self.layout.faults_only = false;
                        self.settle_cursor();
                    }
                    Action::Back => {
                        self.marks.clear();
                        self.forget_joining();
                    }
                    _ => return self.common_key(action),
                }
                Vec::new()
            }
            Scope::Node => self.node_key(action),
            Scope::Files => match self.files_key(action) {
                Some(effects) => effects,
                None => self.common_key(action),
            },
            Scope::Ports => match self.ports_key(action) {
                Some(effects) => effects,
                None => self.common_key(action),
            },
            Scope::Events => match self.events_key(action) {
                Some(effects) => effects,
                None => self.common_key(action),
            },
        }
    }

    fn node_key(&mut self, action: Action) -> Vec<Effect> {
        let in_files = self.view == View::Files;
        match action {
            Action::Back if self.layout.window.is_some() => self.layout.window = None,
            Action::Back => {
                self.screen = Screen::Nodes;
                self.scroll = 0;
            }
            Action::Up if in_files => self.file_cursor = self.file_cursor.saturating_sub(1),
            Action::Down if in_files => {
                let last = self.current().map_or(0, |state| state.files.len().saturating_sub(1));
                self.file_cursor = (self.file_cursor + 1).min(last);
            }
            Action::Open if in_files => return self.fetch_selected(),
            Action::Up => self.scroll = self.scroll.saturating_sub(1),
            Action::Down => self.scroll = self.scroll.saturating_add(1),
            Action::PageUp => self.scroll = self.scroll.saturating_sub(10),
            Action::PageDown => self.scroll = self.scroll.saturating_add(10),
            Action::Top => self.scroll = 0,
            Action::Bottom => self.scroll = usize::MAX / 2,
            _ => return self.common_key(action),
        }
        Vec::new()
    }

    /// Keys that mean the same in the list and on a node.
    pub(super) fn common_key(&mut self, action: Action) -> Vec<Effect> {
        match action {
            change if change.changes_cluster() && self.permission == Permission::ReadOnly => self.refuse_read_only(),
            Action::NextView | Action::PreviousView => {
                self.view = self.view.step(if action == Action::NextView { 1 } else { -1 });
                self.scroll = 0;
            }
            Action::Files => return self.open_files(),
            Action::Ports => self.open_ports(),
            Action::History => return self.history_of_node(),
            Action::Command => self.open_command(),
            Action::Events => {
                self.screen = Screen::Events;
                self.events.cursor = 0;
            }
            Action::GoBack => self.go_back(),
            Action::GoForward => self.go_forward(),
            Action::Zoom => self.layout.zoomed = !self.layout.zoomed,
            Action::Faults => {
                self.layout.faults_only = !self.layout.faults_only;
                self.settle_cursor();
            }
            Action::Save => return self.save_table(None),
            Action::Copy => return self.copy_row(),
            Action::Contexts => return vec![Effect::FindContexts],
            Action::Report => return vec![Effect::WriteReport(Box::new(self.summary()))],
            Action::Freeze => return self.freeze_recorders(),
            Action::Follow => return self.follow_captures(),
            Action::FetchAll => return self.fetch_all(),
            Action::Filter => self.open_filter(),
            Action::Deploy => return self.ask_deploy(),
            Action::Budget => self.ask_budget(),
            Action::Sessions => return vec![Effect::FindSessions],
            Action::Capture => return self.toggle_capture(),
            Action::CaptureOptions => {
                let targets = self.capture_targets();
                self.overlay = (!targets.is_empty()).then(|| Overlay::Form(Box::new(self.form.clone())));
            }
            Action::Pause => self.paused = !self.paused,
            Action::Help => self.overlay = Some(Overlay::Help),
            Action::Notices => self.overlay = Some(Overlay::Notices),
            Action::Quit => return self.leave(false),
            _ => {}
        }
        Vec::new()
    }

    fn text_key(&mut self, action: Action) -> Vec<Effect> {
        let ring_bytes = self.ring_bytes();
        match &mut self.overlay {
            Some(Overlay::Command { .. }) => return self.command_key(action),
            Some(Overlay::FilterInput { .. }) => self.filter_key(action),
            Some(Overlay::Form(form)) => match action {
                Action::Edit(edit) => form.edit(edit),
                Action::Up | Action::PreviousView => form.step(-1),
                Action::Down | Action::NextView => form.step(1),
                Action::Open => {
                    if let Some(spec) = form.submit(ring_bytes) {
                        self.form = (**form).clone();
                        self.overlay = None;
                        let targets = self.capture_targets();
                        return self.ask_start_captures(targets, spec);
                    }
                }
                Action::Back => {
                    self.form = (**form).clone();
                    self.form.error = None;
                    self.overlay = None;
                }
                _ => {}
            },
            _ => return self.typed_key(action),
        }
        Vec::new()
    }

    fn dialog_key(&mut self, action: Action) -> Vec<Effect> {
        let question = match &self.overlay {
            Some(Overlay::Confirm(question)) => question,
            Some(Overlay::Sessions(_)) => return self.sessions_key(action),
            Some(Overlay::Contexts(_)) => return self.contexts_key(action),
            _ => return self.exit_key(action),
        };
        match action {
            Action::Open => {
                let question = question.clone();
                self.overlay = None;
                match question {
                    Confirm::Deploy(names) => self.deploy(names),
                    Confirm::StopCaptures(names) => self.stop_captures(names),
                    Confirm::FullContent(names, spec) => {
                        self.full_content = true;
                        self.start_captures(names, &spec)
                    }
                    Confirm::RemoveFiles { on_nodes, stored, .. } => self.remove_files(on_nodes, stored),
                }
            }
            Action::Back | Action::Quit => {
                self.overlay = None;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// One node is one keystroke; several are asked about first.
    fn ask_deploy(&mut self) -> Vec<Effect> {
        let targets = self.targets();
        let able = self.able_to_run(&targets);
        if able.is_empty() && !targets.is_empty() {
            return Vec::new();
        }
        let names: Vec<NodeName> = able
            .into_iter()
            .filter(|name| {
                let agent = self.nodes.get(name).map(|state| &state.agent);
                matches!(agent, Some(Agent::Absent | Agent::Failed(_)))
            })
            .collect();
        match names.len() {
            // Those that join later are still to be asked about.
            0 if self.joining.is_wanted() && !self.joining.is_active() => self.deploy_if_permitted(names),
            0 => {
                self.notify(Notice::info("nothing to deploy: every chosen node has an agent"));
                Vec::new()
            }
            _ => self.deploy_if_permitted(names),
        }
    }

    /// Those of these nodes that an agent can run on; the others are named, with the reason.
    pub(super) fn able_to_run(&mut self, names: &[NodeName]) -> Vec<NodeName> {
        let reason = |name: &NodeName| self.nodes.get(name).and_then(|state| state.node.cannot_run());
        let unable: Vec<(&NodeName, String)> =
            names.iter().filter_map(|name| Some((name, reason(name)?.to_string()))).collect();
        if let Some((name, reason)) = unable.first() {
            let others = match unable.len() {
                1 => String::new(),
                more => format!(", and on {}", text::counted(more - 1, "other chosen node")),
            };
            let (headline, reason) = (format!("no agent can run on {name}{others}"), reason.clone());
            self.notify(Notice::warning(headline, reason, "choose other nodes"));
        }
        let able = |name: &&NodeName| self.nodes.get(*name).is_none_or(|state| state.node.cannot_run().is_none());
        names.iter().filter(able).cloned().collect()
    }

    /// Starts agents on these nodes.
    pub(super) fn deploy(&mut self, names: Vec<NodeName>) -> Vec<Effect> {
        let now = self.now;
        self.first_run = false;
        self.session.begin(now, &self.place);
        self.deployed_to(&names);
        for name in &names {
            if let Some(state) = self.nodes.get_mut(name) {
                state.agent = Agent::Deploying("asked".to_owned());
                state.log(now, "deployment asked for");
            }
        }
        vec![Effect::Deploy(names)]
    }

    fn deploy_progress(&mut self, name: &NodeName, progress: DeployProgress) {
        let now = self.now;
        // A session that is taken up knows its nodes before the list does.
        let state = self.nodes.entry(name.clone()).or_insert_with(|| NodeState::new(Node::named(name.clone())));
        match progress {
            DeployProgress::Step(step) => {
                let waiting = matches!(state.agent, Agent::Absent | Agent::Deploying(_) | Agent::Failed(_));
                if waiting && state.agent != Agent::Deploying(step.clone()) {
                    state.log(now, step.clone());
                    state.agent = Agent::Deploying(step);
                }
            }
            DeployProgress::Running => {
                if !matches!(state.agent, Agent::Live | Agent::Lost { .. } | Agent::Connecting) {
                    state.log(now, "the agent's container runs");
                    state.agent = Agent::Connecting;
                }
            }
            DeployProgress::Told(notice) => self.notify(notice),
            DeployProgress::Failed(notice) => {
                state.log(now, notice.line());
                state.agent = Agent::Failed(notice.clone());
                self.notify(notice);
            }
            DeployProgress::Ended(reason) => {
                let headline = format!("the agent on {name} has ended");
                let notice = Notice::warning(headline, reason, "press {deploy} to deploy again").naming_keys();
                state.log(now, notice.fact());
                state.agent = Agent::Failed(notice.clone());
                state.asked = Asked::Nothing;
                self.notify(notice);
            }
        }
    }

    fn tunnel_changed(&mut self, name: &NodeName, change: TunnelChange) -> Vec<Effect> {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return Vec::new() };
        match change {
            TunnelChange::Up(hello) => {
                if matches!(state.agent, Agent::Lost { .. }) {
                    state.log(now, "the tunnel is up again");
                } else {
                    state.log(now, format!("the agent is live, version {}", hello.version));
                }
                state.agent = Agent::Live;
                // It may be another process than before, or a session that was left alone.
                state.grant = GrantState::Nothing;
                state.reporting.told = None;
                state.reporting.live_since.get_or_insert(now);
                let terms = self.terms().map(|terms| Effect::Ask(name.clone(), Request::Terms(terms)));
                let mut effects: Vec<Effect> = terms.into_iter().collect();
                effects.extend(self.grants_due());
                return effects;
            }
            TunnelChange::Update(update) => {
                let files = matches!(update, Update::Files(_) | Update::FilesChanged { .. });
                let reports = matches!(update, Update::Reports(_));
                if matches!(update, Update::Ports(_) | Update::Owners(_) | Update::PortHistory(_)) {
                    self.ports.changed(name);
                }
                state.apply(update, now);
                if files {
                    return self.bring_frozen_home(name);
                }
                if reports {
                    self.tell_reports();
                }
            }
            TunnelChange::Lost { reason, retry_in } => {
                // A pod that is known to have failed says more than its missing tunnel.
                if matches!(state.agent, Agent::Failed(_) | Agent::Deploying(_)) {
                    return Vec::new();
                }
                let attempts = match &state.agent {
                    Agent::Lost { attempts, .. } => attempts + 1,
                    _ => 1,
                };
                if attempts == 1 {
                    state.log(now, format!("tunnel lost: {reason}"));
                }
                state.agent = Agent::Lost { reason: reason.clone(), attempts, retry_at: now + retry_in };
                if attempts == 1 {
                    // On this machine the agent is a child on that tunnel.
                    let (headline, next_step) = match self.place {
                        Place::Local => (format!("the agent on {name} has ended"), "another one is started"),
                        Place::Cluster { .. } => {
                            (format!("the tunnel to {name} is lost"), "the agent goes on; reconnecting")
                        }
                    };
                    self.notify(Notice::warning(headline, reason, next_step));
                }
            }
            TunnelChange::Incompatible(notice) => {
                state.log(now, notice.line());
                state.agent = Agent::Failed(notice.clone());
                self.notify(Notice { headline: format!("{name}: {}", notice.headline), ..notice });
            }
        }
        Vec::new()
    }

    fn answered(&mut self, name: &NodeName, request: &Request, response: Option<Response>) {
        let now = self.now;
        if let (Request::Probe(probe), None | Some(Response::Refused(_))) = (request, &response) {
            self.ports.asked.remove(probe);
        }
        if let (Request::Report(_), None | Some(Response::Refused(_)), Some(state)) =
            (request, &response, self.nodes.get_mut(name))
        {
            // Told again when its tunnel is up again.
            state.reporting.errors += 1;
        }
        if let Request::Terms(_) = request {
            self.terms_heard(name, response.as_ref());
            if matches!(response, None | Some(Response::Done)) {
                // A tunnel that was cut is told again when it is back.
                return;
            }
        }
        let Some(state) = self.nodes.get_mut(name) else { return };
        let what = match request {
            Request::StartCapture(_) => "start a capture",
            Request::StopCapture => "stop the capture",
            Request::Terms(_) => "write down how long it may go on",
            Request::Freeze(_) => "freeze its flight recorder",
            Request::Sink(_) => "take where to deliver",
            Request::RemoveFile { .. } => "remove a file",
            Request::Probe(_) => "probe a port",
            Request::Report(_) => "report by itself",
            Request::Fetched { .. } | Request::Checksum { .. } | Request::Heartbeat | Request::Goodbye => "answer",
        };
        let notice = match response {
            Some(Response::Refused(refusal)) => {
                let failure = match refusal.kind {
                    RefusalKind::Invalid => Failure::BadInput,
                    RefusalKind::NotPermitted => Failure::NotPermitted,
                    RefusalKind::State | RefusalKind::Failed => Failure::Other,
                };
                Notice::error(format!("{name} did not {what}"), refusal.message, refusal.next_step).of(failure)
            }
            None => Notice::error(
                format!("{name} may not have been told to {what}"),
                "the tunnel was cut before its answer came",
                "look at its state when the tunnel is up again",
            ),
            Some(Response::Done) if matches!(request, Request::Freeze(_)) => {
                let after = self.freeze.after_seconds;
                state.log(now, "the flight recorder is frozen");
                let headline =
                    format!("{name} saves {} s before now and {after} s from now", self.freeze.before_seconds);
                self.notify(Notice::info(headline));
                return;
            }
            Some(Response::Probed(probed)) => return self.probed(name, probed),
            // The new state comes as an update of its own.
            Some(Response::Done | Response::Checksum { .. }) => return,
        };
        state.asked = Asked::Nothing;
        state.log(now, notice.line());
        state.refusal = Some(notice.clone());
        self.notify(notice);
    }

    /// Says in time that the end is near: nothing extends it silently.
    fn remind(&mut self) {
        let Some(ends) = self.session.ends.filter(|&ends| self.session.reminded != Some(ends)) else { return };
        if self.now + REMIND_BEFORE < ends || !self.nodes.values().any(|state| state.agent.runs()) {
            return;
        }
        self.session.reminded = Some(ends);
        let minutes = ends.saturating_sub(self.now) / 60_000;
        self.notify(
            Notice::warning(
                format!("the session ends in {minutes} min"),
                "its budget is spent then",
                "{budget} moves it",
            )
            .naming_keys(),
        );
    }

    /// How the place is written in the header.
    pub fn place_text(&self) -> String {
        match &self.place {
            Place::Local => "this machine".to_owned(),
            Place::Cluster { context, flavour: Some(flavour) } => format!("{context} ({flavour})"),
            Place::Cluster { context, flavour: None } => context.clone(),
        }
    }
}
