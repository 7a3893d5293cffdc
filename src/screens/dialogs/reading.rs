//! Texts that are read: help, past notices, past reports.
//!
//! Owns what is searched for in them, and how they scroll. Pure.

use tui_input::Input;

use crate::{
    screens::{App, Layer, action::Action, text_field},
    session::Effect,
};

/// Scrolled to the end; as much less is so many lines above it. How long a text is, only its drawing knows.
pub const END: usize = usize::MAX / 2;
/// Lines that a page key moves.
const PAGE: usize = 10;

/// What is searched for in a text that is read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The text that lines must have, in any case.
    pub search: Input,
    /// It is being typed.
    pub typing: bool,
}

impl Reading {
    /// Whether something is found in what is written there.
    pub fn finds(&self, text: &str) -> bool {
        let wanted = self.search.value().trim().to_lowercase();
        wanted.is_empty() || text.to_lowercase().contains(&wanted)
    }
}

impl App {
    /// Opens a text at its beginning.
    pub(in crate::screens) fn open_reading(&mut self, layer: Layer) {
        self.scroll = 0;
        self.open(layer);
    }

    /// A key in a text that is read.
    pub(in crate::screens) fn reading_key(&mut self, action: Action) -> Vec<Effect> {
        if let Some(Layer::Help(reading) | Layer::Notices(reading)) = self.layers.last_mut() {
            match action {
                Action::Filter => {
                    reading.typing = true;
                    return Vec::new();
                }
                Action::Edit(edit) => {
                    text_field::apply(&mut reading.search, edit);
                    self.scroll = 0;
                    return Vec::new();
                }
                Action::Open if reading.typing => {
                    reading.typing = false;
                    return Vec::new();
                }
                Action::Back if reading.typing || !reading.search.value().is_empty() => {
                    *reading = Reading::default();
                    return Vec::new();
                }
                _ => {}
            }
        }
        match action {
            Action::Up => self.scroll = self.scroll.saturating_sub(1),
            Action::Down => self.scroll = (self.scroll + 1).min(END),
            Action::PageUp => self.scroll = self.scroll.saturating_sub(PAGE),
            Action::PageDown => self.scroll = (self.scroll + PAGE).min(END),
            Action::Top => self.scroll = 0,
            Action::Bottom => self.scroll = END,
            Action::Back | Action::Quit | Action::Open | Action::Help | Action::Notices | Action::History => {
                self.close();
                self.scroll = 0;
            }
            _ => {}
        }
        Vec::new()
    }
}
