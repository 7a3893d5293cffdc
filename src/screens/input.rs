//! What a user does, and what has happened meanwhile, as changes of what is seen.
//!
//! Owns what each key means on a screen, and how the screens follow the session. Pure: same app, event and time, same
//! result.

use nodewatch_protocol::UnixMillis;

use super::{
    App, Layer, Screen,
    action::{Action, Input},
    cursor::Cursor,
    dialogs::reading::Reading,
};
use crate::{
    model::Notice,
    session::{self, Effect, Event, Happened, Permission},
};

/// Takes in what has happened and says what is to be done.
pub fn update(app: &mut App, happened: impl Into<Happened<Input>>, now: UnixMillis) -> Vec<Effect> {
    let mut effects = match happened.into() {
        Happened::Input(input) => {
            app.session.set_now(now);
            let effects = app.input(input);
            app.session.after(effects)
        }
        Happened::Event(event) => app.event(event, now),
    };
    app.show_what_the_session_asks();
    app.show_dialogs();
    app.refresh_node_ports();
    effects.extend(app.look_up_workloads());
    effects.extend(app.tail_due());
    effects.extend(app.end_tail_unseen());
    effects
}

/// That nothing came of a key, and where the keys are told.
fn help_has(headline: impl Into<String>) -> Notice {
    Notice { next_step: "{help} has the keys".to_owned(), ..Notice::info(headline) }.naming_keys().as_answer()
}

impl App {
    fn input(&mut self, input: Input) -> Vec<Effect> {
        let effects = match input {
            Input::Key(action) => self.key(action),
            Input::Pasted(text) => {
                self.pasted(&text);
                Vec::new()
            }
            Input::Pointed(pointed) => {
                self.point(&pointed);
                Vec::new()
            }
            Input::Sees(first) => {
                self.sees(first);
                Vec::new()
            }
            Input::Unbound(key) => {
                self.session.notify(help_has(format!("{key} does nothing here")));
                Vec::new()
            }
            Input::Elsewhere(key, screens) => {
                self.session.notify(help_has(format!("{key} does nothing here; it works on: {screens}")));
                Vec::new()
            }
        };
        // What was asked about them is answered.
        if self.layers.is_empty() && !self.past.to_follow.is_empty() {
            let names = std::mem::take(&mut self.past.to_follow);
            self.session.follow_once_they_run(names);
        }
        effects
    }

    fn event(&mut self, event: Event, now: UnixMillis) -> Vec<Effect> {
        let found = match &event {
            Event::Contexts(_)
            | Event::Past(_)
            | Event::Workloads(_)
            | Event::Aimed(..)
            | Event::Tail(..)
            | Event::Trusted(..)
            | Event::Sessions { .. }
            | Event::Held(..)
            | Event::Sweep(..) => Some(event.clone()),
            _ => None,
        };
        let listed = matches!(event, Event::Nodes(_));
        let ticked = matches!(event, Event::Tick);
        // What was asked for beside the agents may have changed what S3 has.
        let stored = matches!(event, Event::Told(_) | Event::Ended(..)) && self.screen == Screen::Files;
        let merged = match &event {
            Event::Made(made) if !made.is_table() => Some(made.key()),
            _ => None,
        };
        let mut effects = session::update(&mut self.session, event, now);
        if let Some(key) = merged {
            self.point_at_file(key);
        }
        effects.extend(found.into_iter().flat_map(|event| self.found(event)));
        if stored {
            effects.extend(self.session.list_stored());
        }
        if listed {
            self.settle_screen();
        }
        if ticked {
            self.measure_list();
            self.refresh_ports();
            self.refresh_signals();
            self.refresh_connections();
            self.settle_rows();
            effects.extend(self.drop_idle_aim());
        }
        effects
    }

    /// What was found out for somebody who looks.
    fn found(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Contexts(found) => self.found_contexts(found),
            Event::Past(past) => self.past_reports(past),
            Event::Workloads(found) => self.found_workloads(found),
            Event::Aimed(..) => return self.targets_found(),
            Event::Tail(node, news) => self.tail_news(&node, news),
            Event::Trusted(id, outcome) => return self.trusted(&id, outcome),
            Event::Sessions { found, asked } => self.found_sessions(found, asked),
            Event::Held(id, held) => self.session_holds(&id, held),
            Event::Sweep(id, removal) => self.swept(&id, &removal),
            _ => {}
        }
        Vec::new()
    }

    /// A node that has gone fills no screen.
    fn settle_screen(&mut self) {
        if matches!(&self.screen, Screen::Node(name) if !self.session.nodes.contains_key(name)) {
            self.screen = Screen::Nodes;
        }
        self.settle_cursor();
    }

    pub(super) fn act(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Interrupt => return self.session.interrupt(),
            Action::Suspend => return vec![Effect::Suspend],
            _ if !self.layers.is_empty() => return self.layer_key(action),
            _ => {}
        }
        let own = match self.screen {
            Screen::Nodes => Some(self.list_key(action)),
            Screen::Node(_) => Some(self.node_key(action)),
            Screen::Files => self.files_key(action),
            Screen::Ports => self.ports_key(action),
            Screen::Events => self.events_key(action),
            Screen::Tail => self.tail_key(action),
            Screen::Pods => self.pods_key(action),
            Screen::Signals => self.signals_key(action),
            Screen::Connections => self.connections_key(action),
            Screen::Answers => self.answers_key(action),
        };
        own.unwrap_or_else(|| self.common_key(action))
    }

    /// A key that means something elsewhere and nothing here.
    pub(super) fn say_dead(&mut self, action: Action) {
        let headline = match action {
            Action::Open => "nothing to open here",
            Action::Probe | Action::Exclude => {
                return self.session.notify(
                    Notice {
                        next_step: "{open} goes to the node, {ports} to all ports".to_owned(),
                        ..Notice::info("that key is about the port under the cursor")
                    }
                    .naming_keys()
                    .as_answer(),
                );
            }
            _ => "that key does nothing here",
        };
        self.session.notify(help_has(headline));
    }

    /// Keys that mean the same in the list and on a node.
    pub(super) fn common_key(&mut self, action: Action) -> Vec<Effect> {
        match action {
            change if change.changes_cluster() && self.session.permission == Permission::ReadOnly => {
                self.refuse_read_only();
            }
            Action::NextView | Action::PreviousView => {
                self.view = self.view.step(if action == Action::NextView { 1 } else { -1 });
                self.scroll = 0;
            }
            Action::Files => return self.open_files(),
            Action::Ports => self.open_ports(),
            Action::Signals => self.open_signals(),
            Action::Connections => self.open_connections(),
            Action::Answers => return self.answers_or_watch(),
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
            Action::Report => return vec![Effect::WriteReport(Box::new(self.session.summary()))],
            Action::Freeze => return self.freeze_recorders(),
            Action::Follow => return self.follow_captures(),
            Action::Tail => return self.open_tail(),
            Action::FetchAll => return self.fetch_all_by_key(),
            Action::Filter => self.open_filter(),
            Action::Deploy => return self.ask_deploy(),
            Action::Budget => self.ask_budget(),
            Action::Sessions => return vec![Effect::FindSessions],
            Action::Capture => return self.toggle_capture(),
            Action::Watch => return self.toggle_watch(),
            Action::Bundle => return self.take_bundles(),
            Action::CaptureOptions => self.open_form(),
            Action::Pause => self.pause(),
            Action::Help => self.open_reading(Layer::Help(Reading::default())),
            Action::Notices => self.open_reading(Layer::Notices(Reading::default())),
            Action::Quit => return self.session.leave(false),
            other => self.say_dead(other),
        }
        Vec::new()
    }
}
