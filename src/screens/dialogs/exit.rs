//! The guided exit, as a dialog over whatever is on the screen.
//!
//! Owns which group its keys are about. What is done is the session's. Pure.

use crate::{
    model::Group,
    screens::{App, Layer, action::Action, dialogs::reading::END},
    session::{
        Effect,
        exit::{Exit, Phase},
    },
};

/// Lines that a page key moves.
const PAGE: usize = 10;

/// What is seen of the exit beside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitView {
    /// The group that the cursor is on.
    pub cursor: Group,
    /// Each thing of a group is shown.
    pub details: bool,
    /// The group under the cursor was gone to, so that it is what is shown.
    pub follow: bool,
}

impl Default for ExitView {
    fn default() -> Self {
        Self { cursor: Group::Files, details: false, follow: false }
    }
}

impl ExitView {
    /// Moves to the next or the previous group, or to the first or the last one; false where there is none.
    fn step(&mut self, exit: &Exit, by: isize) -> bool {
        let groups = exit.groups();
        let at = groups.iter().position(|&group| group == self.cursor).unwrap_or(0);
        let next = at.saturating_add_signed(by).min(groups.len().saturating_sub(1));
        self.cursor = groups.get(next).copied().unwrap_or(self.cursor);
        self.follow = next != at;
        self.follow
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
                (view.details, view.follow) = (!view.details, true);
                self.scroll = 0;
            }
            (Phase::Asking | Phase::FetchFailed, Action::Freeze) => return self.freeze_recorders(),
            (Phase::Asking, Action::Up) if view.step(exit, -1) => {}
            (Phase::Asking, Action::Down) if view.step(exit, 1) => {}
            (phase, Action::Up | Action::Down | Action::PageUp | Action::PageDown | Action::Top | Action::Bottom) => {
                if phase == Phase::Asking && matches!(action, Action::Top | Action::Bottom) {
                    view.step(exit, if action == Action::Top { isize::MIN } else { isize::MAX });
                }
                view.follow = false;
                self.scroll = match action {
                    Action::Up => self.scroll.saturating_sub(1),
                    Action::Down => (self.scroll + 1).min(END),
                    Action::PageUp => self.scroll.saturating_sub(PAGE),
                    Action::PageDown => (self.scroll + PAGE).min(END),
                    Action::Bottom => END,
                    _ => 0,
                };
            }
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
