//! The screen held still: what is shown meanwhile, and what keys are about.
//!
//! Owns the picture and its end. Keys that only look move in the picture; those that do something are about what the
//! picture shows, end it, and do nothing where that is no longer so. Pure.

use super::{
    App, Confirm, Hold, Layer, Screen,
    action::{Action, Pointed},
};
use crate::{
    model::{NodeName, Notice},
    session::Effect,
};

impl App {
    /// What is to be drawn: this, or while it is paused what it was, as the user has moved in it since.
    pub fn picture(&self) -> &App {
        self.hold.still.as_deref().unwrap_or(self)
    }

    /// The mouse was pointed at something of what is shown.
    pub(super) fn point(&mut self, pointed: &Pointed) {
        match self.hold.still.take() {
            Some(mut still) => {
                still.pointed(pointed);
                self.hold.still = Some(still);
            }
            None => self.pointed(pointed),
        }
    }

    /// A dialog's text was drawn from that line on.
    pub(super) fn sees(&mut self, first: usize) {
        match self.hold.still.as_deref_mut() {
            Some(still) => still.scroll = first,
            None => self.scroll = first,
        }
    }

    /// Holds the screen still.
    pub(super) fn pause(&mut self) {
        let hold = Hold { paused: true, ..Hold::default() };
        self.hold.still = Some(Box::new(Self { hold, ..self.clone() }));
    }

    /// Cursors keep to their rows while those move.
    pub(super) fn settle_rows(&mut self) {
        match self.screen {
            Screen::Files => self.settle_files(),
            Screen::Events => self.settle_events(),
            Screen::Node(_) => self.settle_node_rows(),
            Screen::Pods => self.settle_pods(),
            Screen::Answers => self.settle_answers(),
            Screen::Nodes | Screen::Ports | Screen::Signals | Screen::Connections | Screen::Tail => {}
        }
    }

    /// A key on what is shown.
    pub(super) fn press(&mut self, action: Action) -> Vec<Effect> {
        let spot = self.spot();
        let effects = self.act(action);
        if !matches!(action, Action::GoBack | Action::GoForward) {
            self.left(spot);
        }
        self.refresh_ports();
        self.refresh_node_ports();
        effects
    }

    /// A key, on what is shown.
    pub(super) fn key(&mut self, action: Action) -> Vec<Effect> {
        self.hold.touched = true;
        let Some(mut still) = self.hold.still.take() else { return self.press_where_shown(action) };
        if action == Action::Pause {
            self.go_on(&still);
            return Vec::new();
        }
        // What lies over the picture is looked at too.
        if action.only_looks(&still.screen) || !still.layers.is_empty() {
            let told = still.session.notices.len();
            let effects = still.press(action);
            for (_, notice) in still.session.notices.iter().skip(told) {
                self.session.notify(notice.clone());
            }
            self.hold.still = Some(still);
            return effects;
        }
        self.go_on(&still);
        if !action.acts(&still.screen) {
            return self.press(action);
        }
        // What the picture shows may be over: then nobody has asked for what would be done now.
        let mut now = self.clone();
        let effects = now.press_where_shown(action);
        if effects == still.press_where_shown(action)
            && now.question() == still.question()
            && now.form_is_on() == still.form_is_on()
        {
            *self = now;
            return effects;
        }
        self.session.notify(Notice::warning("nothing was done", "the screen was out of date", "press the key again"));
        Vec::new()
    }

    fn question(&self) -> Option<&Confirm> {
        match self.layers.last() {
            Some(Layer::Confirm(question)) => Some(question),
            _ => None,
        }
    }

    fn form_is_on(&self) -> Option<&[NodeName]> {
        match self.layers.last() {
            Some(Layer::Form(form)) => Some(&form.on),
            _ => None,
        }
    }

    /// What has to be seen ends the pause.
    pub(super) fn show_dialogs(&mut self) {
        if !self.layers.is_empty()
            && let Some(still) = self.hold.still.take()
        {
            self.go_on(&still);
        }
    }

    /// Shows what is now, where the user was in the picture.
    fn go_on(&mut self, still: &App) {
        let nodes = &self.session.nodes;
        self.screen = match &still.screen {
            Screen::Node(name) if !nodes.contains_key(name) => Screen::Nodes,
            screen => screen.clone(),
        };
        // Those that joined meanwhile, where all are meant, were marked behind the picture.
        let new = self.session.marks.iter().filter(|name| !still.session.nodes.contains_key(*name));
        let marks = still.session.marks.iter().filter(|name| nodes.contains_key(*name)).chain(new).cloned().collect();
        self.session.mark(marks);
        match (still.session.joining.is_wanted(), self.session.joining.is_wanted()) {
            (true, false) => self.session.mean_later_nodes(),
            (false, true) => self.session.forget_joining(),
            _ => {}
        }
        self.view = still.view;
        self.scroll = still.scroll;
        self.layout = still.layout;
        self.list.look_like(&still.list);
        self.tabs.look_like(&still.tabs);
        self.files.look_like(&still.files);
        self.events = still.events.clone();
        self.pods.look_like(&still.pods);
        self.ports.look_like(&still.ports);
        self.signals.look_like(&still.signals);
        self.connections.look_like(&still.connections);
        self.answers = still.answers.clone();
        self.past.trail = still.past.trail.clone();
        self.follow_lead();
        self.refresh_ports();
        self.refresh_signals();
        self.refresh_connections();
        self.refresh_node_ports();
    }
}
