//! Marks that are not on the screen, as a filter hides them: named before anything is done to what they mark.
//!
//! Owns when that takes a question of its own. Pure.

use super::{App, Confirm, Layer, Screen, action::Action};
use crate::{
    base::text,
    session::{Effect, files::FileKey},
};

impl App {
    /// A key on what is shown; where it would be about something else too, after a question.
    pub(super) fn press_where_shown(&mut self, action: Action) -> Vec<Effect> {
        let hidden = self.hidden_from(action);
        if hidden.is_empty() {
            return self.press(action);
        }
        let mut tried = self.clone();
        let effects = tried.press(action);
        // A question of the key's own names them.
        let asks = tried.top().is_some_and(Layer::asks);
        if asks || (effects.is_empty() && tried.layers.is_empty()) {
            *self = tried;
            return effects;
        }
        self.open(Layer::Confirm(Confirm::Hidden { action, hidden }));
        Vec::new()
    }

    /// What a key would act on and the screen does not show.
    fn hidden_from(&self, action: Action) -> Vec<String> {
        if !self.layers.is_empty() || !action.acts(&self.screen) {
            return Vec::new();
        }
        match self.screen {
            // The cursor's node alone.
            _ if action == Action::Tail => Vec::new(),
            Screen::Nodes => self.hidden_marks().iter().map(|name| text::visible(&name.0)).collect(),
            // The viewer opens the cursor's alone.
            Screen::Files if action == Action::Follow => Vec::new(),
            Screen::Files => self.hidden_files().iter().map(FileKey::text).collect(),
            Screen::Node(_)
            | Screen::Ports
            | Screen::Events
            | Screen::Tail
            | Screen::Pods
            | Screen::Signals
            | Screen::Connections
            | Screen::Answers => Vec::new(),
        }
    }
}
