//! The filter line, one for all screens, and what the mouse points at.
//!
//! Owns what typing into it does. Each screen's filter language is its own. Pure.

use tui_input::Input;

use super::{
    App, Layer, Screen, View,
    action::{Action, Pointed},
    cursor::{Cursor, RowKey},
    events, files,
    order::Order,
    port_filter::PortFilter,
    ports::Mode,
    text_field,
};
use crate::session::{
    Effect,
    filter::{Filter, TextFilter},
};

/// The screen's filter, being typed.
#[derive(Debug, Clone)]
pub struct FilterLine {
    /// The text so far.
    pub input: Input,
    /// What is wrong with it.
    pub error: Option<String>,
    /// The filter that was in force, which comes back on Esc.
    before: String,
}

impl App {
    /// The text of the screen's filter.
    pub fn filter_text(&self) -> &str {
        match self.screen {
            Screen::Nodes | Screen::Node(_) => &self.list.filter.0,
            Screen::Files => &self.files.filter.0,
            Screen::Ports => &self.ports.filter.0,
            Screen::Events => &self.events.filter.0,
        }
    }

    /// The order of the screen's rows, where the user has chosen one.
    pub fn screen_order(&self) -> Option<Order> {
        match self.screen {
            Screen::Nodes | Screen::Node(_) => self.list.order,
            Screen::Files => self.files.order,
            Screen::Ports => self.ports.order,
            Screen::Events => None,
        }
    }

    pub(super) fn open_filter(&mut self) {
        if matches!(self.screen, Screen::Node(_)) {
            self.screen = Screen::Nodes;
        }
        let before = self.filter_text().to_owned();
        self.open(Layer::Filter(FilterLine { input: Input::new(before.clone()), error: None, before }));
    }

    /// Filters the screen; the error names what is wrong, and the filter before it stays.
    pub(super) fn set_filter(&mut self, text: &str) -> Result<(), String> {
        let own = text.to_owned();
        match self.screen {
            Screen::Nodes | Screen::Node(_) => {
                self.list.filter = (own, Filter::parse(text)?);
                self.settle_cursor();
            }
            Screen::Files => {
                self.files.filter = (own, TextFilter::parse(text, files::FIELDS)?);
                self.files.cursor = Cursor::default();
            }
            Screen::Ports => {
                self.ports.filter = (own, PortFilter::parse(text)?);
                self.sift_ports();
            }
            Screen::Events => {
                self.events.filter = (own, TextFilter::parse(text, events::FIELDS)?);
                self.events.cursor = Cursor::default();
            }
        }
        Ok(())
    }

    /// A key while the filter is typed.
    pub(super) fn filter_key(&mut self, action: Action) -> Vec<Effect> {
        let Some(Layer::Filter(FilterLine { input, error, before })) = self.layers.last_mut() else {
            return Vec::new();
        };
        match action {
            Action::Edit(edit) => {
                text_field::apply(input, edit);
                self.filter_typed();
            }
            Action::Open if error.is_none() => self.close(),
            Action::Back => {
                let before = before.clone();
                self.close();
                // It was in force, so it can be read.
                let _ = self.set_filter(&before);
            }
            _ => {}
        }
        Vec::new()
    }

    /// Puts the cursor on a row of the screen, where it is still there.
    fn put_cursor(&mut self, row: &RowKey) {
        match (row, &self.screen) {
            (RowKey::Node(name), Screen::Nodes) => {
                let there = self.shown().any(|state| state.node.name == *name);
                if there && self.list.cursor.as_ref() != Some(name) {
                    self.list.cursor = Some(name.clone());
                    self.scroll = 0;
                    self.file_cursor = Cursor::default();
                }
            }
            (RowKey::File(key), Screen::Files) => {
                let at = self.file_rows().iter().position(|row| row.key == *key);
                if let Some(at) = at {
                    self.files.cursor.put(at, Some(key.clone()));
                }
            }
            (RowKey::Port(..) | RowKey::Group(_), Screen::Ports) => self.ports.put_on(row),
            (RowKey::Event(key), Screen::Events) => {
                let at = self.event_rows().iter().position(|row| row.key() == *key);
                if let Some(at) = at {
                    self.events.cursor.put(at, Some(key.clone()));
                }
            }
            (RowKey::NodeFile(name), Screen::Node(_)) => {
                let at = self.current().and_then(|state| state.files.iter().position(|file| file.name == *name));
                if let Some(at) = at {
                    self.file_cursor.put(at, Some(name.clone()));
                }
            }
            _ => {}
        }
    }

    /// The filter's text has changed.
    fn filter_typed(&mut self) {
        let Some(Layer::Filter(line)) = self.layers.last() else { return };
        let text = line.input.value().to_owned();
        let outcome = self.set_filter(&text).err();
        if let Some(Layer::Filter(line)) = self.layers.last_mut() {
            line.error = outcome;
        }
    }

    /// A text came at once: one edit of what is typed, and nothing where nothing is.
    pub(super) fn pasted(&mut self, text: &str) {
        match self.layers.last_mut() {
            Some(Layer::Command(line)) => {
                line.error = None;
                text_field::insert(&mut line.input, text);
            }
            Some(Layer::Filter(line)) => {
                text_field::insert(&mut line.input, text);
                self.filter_typed();
            }
            Some(Layer::Form(form)) => form.insert(text),
            Some(Layer::Typed(typed)) => {
                typed.error = None;
                text_field::insert(&mut typed.input, text);
            }
            _ => {}
        }
    }

    /// The mouse was pointed at something of the screen.
    pub(super) fn pointed(&mut self, pointed: &Pointed) {
        match (pointed, &self.screen) {
            (Pointed::Row(row), _) => self.put_cursor(row),
            (Pointed::Tab(tab), Screen::Ports) => {
                self.ports.mode = Mode::ALL[(*tab).min(Mode::ALL.len() - 1)];
                self.ports.go_to_top();
                self.sift_ports();
            }
            (Pointed::Tab(tab), _) => {
                self.view = View::ALL[(*tab).min(View::ALL.len() - 1)];
                self.scroll = 0;
            }
            (Pointed::Window(from, to), _) => self.layout.window = Some((*from.min(to), *from.max(to))),
        }
    }
}
