//! The filter line, one for all screens.
//!
//! Owns what typing into it does. Each screen's filter language is its own. Pure.

use tui_input::Input;

use super::{
    App, Layer, Screen, View,
    action::Action,
    answers, connections,
    cursor::Cursor,
    events, files,
    order::Order,
    pods,
    port_filter::{self, PortFilter},
    signals, tail, text_field,
};
use crate::{
    model::Notice,
    session::{
        Effect,
        filter::{self, Filter, TextFilter},
    },
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
            Screen::Nodes => &self.list.filter.0,
            Screen::Node(_) => &self.tabs.of(self.view).filter,
            Screen::Files => &self.files.filter.0,
            Screen::Ports => &self.ports.filter.0,
            Screen::Events => &self.events.filter.0,
            Screen::Tail => &self.tail.filter.0,
            Screen::Pods => &self.pods.filter.0,
            Screen::Signals => &self.signals.filter.0,
            Screen::Connections => &self.connections.filter.0,
            Screen::Answers => &self.answers.filter.0,
        }
    }

    /// The order of the screen's rows, where the user has chosen one.
    pub fn screen_order(&self) -> Option<Order> {
        match self.screen {
            Screen::Nodes => self.list.order,
            Screen::Node(_) => self.tabs.of(self.view).order,
            Screen::Files => self.files.order,
            Screen::Ports => self.ports.order,
            Screen::Pods => self.pods.order,
            Screen::Signals => self.signals.order,
            Screen::Connections => self.connections.order,
            Screen::Answers => self.answers.order,
            Screen::Events | Screen::Tail => None,
        }
    }

    pub(super) fn open_filter(&mut self) {
        if matches!(self.screen, Screen::Node(_)) && self.view == View::Capture {
            self.session.notify(Notice::info("nothing to filter here: this view has no rows"));
            return;
        }
        let before = self.filter_text().to_owned();
        self.open(Layer::Filter(FilterLine { input: Input::new(before.clone()), error: None, before }));
    }

    /// What the screen's filter can name.
    pub(super) fn filter_fields(&self) -> Vec<&'static str> {
        match self.screen {
            Screen::Node(_) => self.tab_filter_fields(),
            Screen::Nodes => filter::field_names().collect(),
            Screen::Files => files::FIELDS.to_vec(),
            Screen::Ports => port_filter::field_names().collect(),
            Screen::Events => events::FIELDS.to_vec(),
            Screen::Pods => pods::FIELDS.to_vec(),
            Screen::Tail => tail::FIELDS.to_vec(),
            Screen::Signals => signals::FIELDS.to_vec(),
            Screen::Connections => connections::FIELDS.to_vec(),
            Screen::Answers => answers::FIELDS.to_vec(),
        }
    }

    /// Filters the screen; the error names what is wrong, and the filter before it stays.
    pub(super) fn set_filter(&mut self, text: &str) -> Result<(), String> {
        let own = text.to_owned();
        match self.screen {
            Screen::Node(_) => self.set_tab_filter(text)?,
            Screen::Nodes => {
                self.list.filter = (own, Filter::parse(text)?);
                self.follow_lead();
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
            Screen::Pods => {
                self.pods.filter = (own, TextFilter::parse(text, pods::FIELDS)?);
                self.pods.cursor = Cursor::default();
            }
            Screen::Tail => {
                self.tail.filter = (own, TextFilter::parse(text, tail::FIELDS)?);
                self.tail.up = 0;
            }
            Screen::Signals => {
                self.signals.filter = (own, TextFilter::parse(text, signals::FIELDS)?);
                self.signals.go_to_top();
                self.sift_signals();
            }
            Screen::Connections => {
                self.connections.filter = (own, TextFilter::parse(text, connections::FIELDS)?);
                self.connections.cursor = Cursor::default();
                self.sift_connections();
            }
            Screen::Answers => {
                self.answers.filter = (own, TextFilter::parse(text, answers::FIELDS)?);
                self.answers.cursor = Cursor::default();
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
            Some(Layer::Help(reading) | Layer::Notices(reading)) if reading.typing => {
                text_field::insert(&mut reading.search, text);
            }
            Some(Layer::Form(form)) => form.insert(text),
            Some(Layer::Typed(typed)) => {
                typed.error = None;
                text_field::insert(&mut typed.input, text);
            }
            _ => {}
        }
    }
}
