//! How several nodes' packets are to be shown: asked once.
//!
//! Owns the dialog that lists the ways. Pure.

use crate::{
    model::Sides,
    screens::{App, Layer, action::Action},
    session::Effect,
};

/// The list of ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SidesView {
    /// The selected one.
    pub cursor: usize,
}

impl SidesView {
    /// What a way does, for people.
    pub fn text(sides: Sides) -> &'static str {
        match sides {
            Sides::Ask | Sides::Windows => "a window for each node",
            Sides::Pair => "one window, each packet once: comments have every node's time",
            Sides::Together => "one window, each packet once a node: looks like retransmissions",
        }
    }
}

impl App {
    /// A key in the list of ways.
    pub(in crate::screens) fn sides_key(&mut self, action: Action) -> Vec<Effect> {
        let Some(Layer::Sides(view)) = self.layers.last_mut() else { return Vec::new() };
        match action {
            Action::Up => view.cursor = view.cursor.saturating_sub(1),
            Action::Down => view.cursor = (view.cursor + 1).min(Sides::ANSWERS.len() - 1),
            Action::Open => {
                let answer = Sides::ANSWERS.get(view.cursor).copied();
                self.close();
                return self.session.show_as(answer);
            }
            Action::Back | Action::Quit => {
                self.close();
                return self.session.show_as(None);
            }
            _ => {}
        }
        Vec::new()
    }
}
