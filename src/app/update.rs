//! The one function that changes the app.
//!
//! Owns what each event and each key means. Pure: same app, event and time, same result.

use nodewatch_protocol::{RefusalKind, Request, Response, UnixMillis};

use super::{
    App, Confirm, Listing, Overlay, Permission, REMIND_BEFORE, Scope, Screen, View,
    action::{Action, Effect, Event},
    cursor::Cursor,
    filter::Filter,
    node::Asked,
};
use crate::{
    base::text,
    model::{Failure, NodeName, Notice, Place},
};

/// Takes in one event and says what is to be done.
pub fn update(app: &mut App, event: Event, now: UnixMillis) -> Vec<Effect> {
    app.now = now;
    let mut effects = take_in(app, event);
    app.note_begun(&effects);
    effects.extend(app.leave_when_done());
    app.show_dialogs();
    effects
}

fn take_in(app: &mut App, event: Event) -> Vec<Effect> {
    match event {
        Event::Action(action) => app.key(action),
        Event::Pasted(text) => app.pasted(&text),
        Event::Pointed(pointed) => {
            app.point(&pointed);
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
            let effects = app.deploy_progress(&name, progress);
            app.after_news(effects)
        }
        Event::Tunnel(name, change) => {
            let effects = app.tunnel_changed(&name, change);
            app.after_news(effects)
        }
        Event::Answer(name, request, response) => {
            app.answered(&name, &request, response);
            app.after_news(Vec::new())
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
        Event::Ended(job, notice) => {
            app.job_ended(job, notice);
            if app.screen == Screen::Files { app.list_stored() } else { Vec::new() }
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
        Event::Held(id, held) => {
            app.session_holds(&id, held);
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
        Event::ClockSet(ahead) => app.clock_set(ahead),
        Event::Tick => app.tick(),
        Event::DeployTo(names) => app.deploy(names),
        Event::StartCaptures(names, spec) => app.begin_captures_asked_for(&names, &spec),
        Event::Resolved(names, asked, found) => app.resolved(&names, &asked, found),
        Event::Finish => app.leave(true),
        Event::Abandon(made) => app.abandon(made),
    }
}

impl App {
    fn attach(&mut self, began: UnixMillis, ends: UnixMillis, stood_in: bool) -> Vec<Effect> {
        self.joining.stood_in = stood_in;
        self.session.began = Some(self.steady(began));
        self.session.ends = Some(self.steady(ends));
        vec![Effect::Attach]
    }

    /// What follows from news of an agent beside what they ask for themselves.
    fn after_news(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        effects.extend(self.follow_due());
        effects.extend(self.check_leaving());
        effects
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
        self.settle_rows();
        let mut effects = self.take_stock_again();
        effects.extend(self.expectations_due());
        effects.extend(self.reports_due());
        effects.extend(self.alarms_due());
        effects.extend(self.grants_due());
        effects.extend(self.serve_joined());
        effects.extend(self.homing_due());
        effects.extend(self.check_leaving());
        effects
    }

    pub(super) fn act(&mut self, action: Action) -> Vec<Effect> {
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
                self.settle_cursor();
            }
            Action::Up if in_files => self.move_in_node_files(|at| at.saturating_sub(1)),
            Action::Down if in_files => self.move_in_node_files(|at| at + 1),
            Action::Top if in_files => self.move_in_node_files(|_| 0),
            Action::Bottom if in_files => self.move_in_node_files(|_| usize::MAX),
            Action::PageUp if in_files => self.move_in_node_files(|at| at.saturating_sub(10)),
            Action::PageDown if in_files => self.move_in_node_files(|at| at + 10),
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
                self.events.cursor = Cursor::default();
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
            Action::FetchAll => return self.fetch_all_by_key(),
            Action::Filter => self.open_filter(),
            Action::Deploy => return self.ask_deploy(),
            Action::Budget => self.ask_budget(),
            Action::Sessions => return vec![Effect::FindSessions],
            Action::Capture => return self.toggle_capture(),
            Action::CaptureOptions => self.open_form(),
            Action::Pause => self.pause(),
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
                        let targets = self.targets();
                        return self.ask_start_captures(&targets, spec);
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
                    Confirm::Deploy(names, goal) => self.deploy_for(&names, goal),
                    Confirm::StopCaptures(names) => self.stop_captures(names),
                    Confirm::FullContent(names, spec) => {
                        self.full_content = true;
                        self.ask_deploy_for_captures(names, *spec)
                    }
                    Confirm::RemoveFiles { on_nodes, stored, .. } => self.remove_files(on_nodes, stored),
                    Confirm::Hidden { action, .. } => self.press(action),
                    Confirm::Sweep { list, id, .. } => {
                        self.overlay = Some(Overlay::Sessions(*list));
                        self.sweep(id)
                    }
                    Confirm::Leave { .. } => {
                        self.cut = self.under_way();
                        vec![Effect::Quit]
                    }
                }
            }
            Action::Back | Action::Quit => {
                self.to_follow.clear();
                match self.overlay.take() {
                    Some(Overlay::Confirm(Confirm::Sweep { list, .. })) => {
                        self.overlay = Some(Overlay::Sessions(*list));
                    }
                    // What has ended cannot be gone on with.
                    Some(leave @ Overlay::Confirm(Confirm::Leave { .. })) if self.ended.is_some() => {
                        self.overlay = Some(leave);
                    }
                    Some(Overlay::Confirm(Confirm::Leave { .. })) => self.next = None,
                    _ => {}
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
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

    /// The session ends when it would have; what is written down of that is by the clock on the wall.
    fn clock_set(&mut self, ahead: i64) -> Vec<Effect> {
        let by = ahead.saturating_sub(self.wall_ahead) / 1000;
        self.wall_ahead = ahead;
        let word = if by < 0 { "back" } else { "ahead" };
        let length = text::clock(by.unsigned_abs() * 1000);
        let headline = format!("this laptop's clock was set {word} by {length}; nothing ends earlier or later for it");
        // As the session begins it is no news.
        if self.listing != Listing::Loading {
            self.notify(Notice::info(headline));
        }
        let known = self.session.ends.filter(|_| self.session.began.is_some() && !self.is_removing());
        // What the cluster has is by its own clock, which nobody has set.
        known.filter(|_| self.place != Place::Local).map(|ends| Effect::NoteEnds(self.wall(ends))).into_iter().collect()
    }

    /// Says in time that the end is near: nothing extends it silently.
    fn remind(&mut self) {
        let Some(ends) = self.session.ends.filter(|&ends| self.session.reminded != Some(ends)) else { return };
        if self.now + REMIND_BEFORE < ends || !self.nodes.values().any(|state| state.agent.runs()) {
            return;
        }
        self.session.reminded = Some(ends);
        let minutes = ends.saturating_sub(self.now) / 60_000;
        let cause = if self.begin_homing() {
            "its budget is spent then; files that only nodes have come here from now on"
        } else {
            "its budget is spent then"
        };
        let headline = format!("the session ends in {minutes} min");
        self.notify(Notice::warning(headline, cause, "{budget} moves it").naming_keys());
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
