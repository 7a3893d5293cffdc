//! Commands that are typed after `:`.
//!
//! Owns their names. Each does what some key does. Pure.

use super::{
    App, Overlay, Screen,
    action::{Action, Effect},
    form,
};

/// Names, with k9s' short ones, and what they do.
const COMMANDS: [(&[&str], Action); 9] = [
    (&["nodes", "node", "no"], Action::Back),
    (&["ports", "port", "po"], Action::Ports),
    (&["files", "file", "captures"], Action::Files),
    (&["history"], Action::History),
    (&["sessions", "session"], Action::Sessions),
    (&["notices"], Action::Notices),
    (&["budget"], Action::Budget),
    (&["help", "h"], Action::Help),
    (&["quit", "q", "q!"], Action::Quit),
];

impl App {
    /// A key while a command is typed.
    pub(super) fn command_key(&mut self, action: Action) -> Vec<Effect> {
        let Some(Overlay::Command { input, error }) = &mut self.overlay else { return Vec::new() };
        match action {
            Action::Edit(edit) => {
                *error = None;
                form::apply(input, edit);
            }
            Action::Back => self.overlay = None,
            Action::Open => {
                let typed = input.value().trim().to_lowercase();
                match COMMANDS.iter().find(|(names, _)| names.contains(&typed.as_str())) {
                    _ if typed.is_empty() => self.overlay = None,
                    Some((_, Action::Back)) => {
                        self.overlay = None;
                        self.screen = Screen::Nodes;
                    }
                    Some((_, action)) => {
                        self.overlay = None;
                        return self.common_key(*action);
                    }
                    None => {
                        let names: Vec<&str> = COMMANDS.iter().map(|(names, _)| names[0]).collect();
                        *error = Some(format!("{typed:?} is no command: {}", names.join(" ")));
                    }
                }
            }
            _ => {}
        }
        Vec::new()
    }
}
