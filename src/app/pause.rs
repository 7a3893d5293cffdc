//! The screen held still: what is shown meanwhile, and what keys are about.
//!
//! Owns the picture and its end. Keys that only look move in the picture; those that do something are about what the
//! picture shows, end it, and do nothing where that is no longer so. Pure.

use super::{
    App, Confirm, Overlay, Screen,
    action::{Action, Effect, Pointed},
};
use crate::model::Notice;

impl App {
    /// What is to be drawn: this, or while it is paused what it was, as the user has moved in it since.
    pub fn picture(&self) -> &App {
        self.still.as_deref().unwrap_or(self)
    }

    /// The mouse was pointed at something of what is shown.
    pub(super) fn point(&mut self, pointed: &Pointed) {
        match self.still.take() {
            Some(mut still) => {
                still.pointed(pointed);
                self.still = Some(still);
            }
            None => self.pointed(pointed),
        }
    }

    /// Holds the screen still.
    pub(super) fn pause(&mut self) {
        self.paused = true;
        self.still = Some(Box::new(self.clone()));
    }

    /// Cursors keep to their rows while those move.
    pub(super) fn settle_rows(&mut self) {
        match self.screen {
            Screen::Files => self.settle_files(),
            Screen::Events => self.settle_events(),
            Screen::Node(_) => self.settle_node_files(),
            Screen::Nodes | Screen::Ports => {}
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
        effects
    }

    /// A key, on what is shown.
    pub(super) fn key(&mut self, action: Action) -> Vec<Effect> {
        self.touched = true;
        let Some(mut still) = self.still.take() else { return self.press_where_shown(action) };
        if action == Action::Pause {
            self.go_on(&still);
            return Vec::new();
        }
        if action.only_looks(&still.screen) {
            let told = still.notices.len();
            let effects = still.press(action);
            for (_, notice) in still.notices.iter().skip(told) {
                self.notify(notice.clone());
            }
            self.still = Some(still);
            return effects;
        }
        self.go_on(&still);
        if !action.acts(&still.screen) {
            return self.press(action);
        }
        // What the picture shows may be over: then nobody has asked for what would be done now.
        let mut now = self.clone();
        let effects = now.press_where_shown(action);
        if effects == still.press_where_shown(action) && now.question() == still.question() {
            *self = now;
            return effects;
        }
        self.notify(Notice::warning(
            "nothing was done",
            "what the screen showed is no longer so",
            "press the key again",
        ));
        Vec::new()
    }

    fn question(&self) -> Option<&Confirm> {
        match &self.overlay {
            Some(Overlay::Confirm(question)) => Some(question),
            _ => None,
        }
    }

    /// What has to be seen ends the pause.
    pub(super) fn show_dialogs(&mut self) {
        if self.overlay.is_some()
            && let Some(still) = self.still.take()
        {
            self.go_on(&still);
        }
    }

    /// Shows what is now, where the user was in the picture.
    fn go_on(&mut self, still: &App) {
        self.paused = false;
        self.screen = match &still.screen {
            Screen::Node(name) if !self.nodes.contains_key(name) => Screen::Nodes,
            screen => screen.clone(),
        };
        self.view = still.view;
        self.cursor.clone_from(&still.cursor);
        self.scroll = still.scroll;
        self.file_cursor = still.file_cursor.clone();
        self.filter.clone_from(&still.filter);
        self.order = still.order;
        self.layout = still.layout;
        self.trail = still.trail.clone();
        // Those that joined meanwhile, where all are meant, were marked behind the picture.
        let new = self.marks.iter().filter(|name| !still.nodes.contains_key(*name));
        let marks = still.marks.iter().filter(|name| self.nodes.contains_key(*name)).chain(new).cloned().collect();
        self.marks = marks;
        match (still.joining.is_wanted(), self.joining.is_wanted()) {
            (true, false) => self.mean_later_nodes(),
            (false, true) => self.forget_joining(),
            _ => {}
        }
        self.mark_anchor.clone_from(&still.mark_anchor);
        self.files.cursor = still.files.cursor.clone();
        self.files.marks.clone_from(&still.files.marks);
        self.files.filter.clone_from(&still.files.filter);
        self.files.order = still.files.order;
        self.events = still.events.clone();
        self.ports.look_like(&still.ports);
        self.settle_cursor();
        self.refresh_ports();
    }
}
