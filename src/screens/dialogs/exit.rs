//! The guided exit, as a dialog over whatever is on the screen.
//!
//! Owns which group its keys are about. What is done is the session's. Pure.

use crate::{
    model::Group,
    screens::{App, Layer, action::Action},
    session::{
        Effect,
        exit::{Exit, Phase},
    },
};

/// What is seen of the exit beside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitView {
    /// The group that the cursor is on.
    pub cursor: Group,
    /// Each thing of a group is shown.
    pub details: bool,
}

impl Default for ExitView {
    fn default() -> Self {
        Self { cursor: Group::Files, details: false }
    }
}

impl ExitView {
    /// Moves to the next or the previous group.
    fn step(&mut self, exit: &Exit, by: isize) {
        let groups = exit.groups();
        let at = groups.iter().position(|&group| group == self.cursor).unwrap_or(0) as isize;
        self.cursor = groups[(at + by).clamp(0, groups.len() as isize - 1) as usize];
    }
}

impl App {
    /// A key in the guided exit.
    pub(in crate::screens) fn exit_key(&mut self, action: Action) -> Vec<Effect> {
        let (Some(Layer::Exit(view)), Some(exit)) = (self.layers.last_mut(), self.session.exit()) else {
            return Vec::new();
        };
        match (exit.phase, action) {
            (_, Action::Report) => self.choices.report_at_end = !self.choices.report_at_end,
            (_, Action::Details) => {
                view.details = !view.details;
                self.scroll = 0;
            }
            (Phase::Asking | Phase::FetchFailed, Action::Freeze) => return self.freeze_recorders(),
            (_, Action::PageUp) => self.scroll = self.scroll.saturating_sub(10),
            (_, Action::PageDown) => self.scroll = self.scroll.saturating_add(10),
            (Phase::Asking, Action::Up) => view.step(exit, -1),
            (Phase::Asking, Action::Down) => view.step(exit, 1),
            (Phase::Asking, Action::Mark) => {
                let group = view.cursor;
                self.session.toggle_kept(group);
            }
            (phase, Action::Back) if phase.is_before_removal() => self.session.call_off(),
            (Phase::Asking, Action::Quit) => self.session.call_off(),
            (_, Action::Open) | (Phase::Done, Action::Quit) => return self.session.confirm_exit(),
            (_, Action::Remove) => return self.session.remove_contents(),
            (Phase::RemoveFailed, Action::Back) => self.session.spare_contents(),
            (_, Action::Skip) | (Phase::RemoveFailed, Action::Quit) => return self.session.skip(),
            _ => {}
        }
        Vec::new()
    }
}
