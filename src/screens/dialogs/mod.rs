//! Dialogs: what lies over a screen and takes the keys, one file each.
//!
//! Owns the list of them, and which keys are in force in each. A new one is a file here and a line in each list below,
//! which the compiler asks for: none takes keys that it does not name.

mod confirm;
pub mod contexts;
pub mod exit;
pub mod form;
pub mod history;
pub mod reading;
pub mod sessions;
pub mod sides;
pub mod typed;

pub use confirm::Confirm;
use nodewatch_answers::Code;

use self::{
    contexts::Contexts, exit::ExitView, form::CaptureForm, history::History, reading::Reading, sessions::Sessions,
    sides::SidesView, typed::Typed,
};
use super::{
    App, Scope, action::Action, command::CommandLine, connections::ConnectionView, filter_line::FilterLine,
    signals::SignalView,
};
use crate::session::Effect;

/// A dialog, or a line that is typed.
#[derive(Debug, Clone)]
pub enum Layer {
    /// All keys.
    Help(Reading),
    /// Past notices.
    Notices(Reading),
    /// Past reports.
    History(History),
    /// What a signal means, and how it stands on each node.
    Signal(SignalView),
    /// What is known of a pair of ends.
    Connection(ConnectionView),
    /// What a cause means.
    Explanation(Code),
    /// The screen's filter is being typed.
    Filter(FilterLine),
    /// A command is being typed.
    Command(CommandLine),
    /// The capture form.
    Form(Box<CaptureForm>),
    /// A text that must be typed.
    Typed(Typed),
    /// A question that Enter says yes to.
    Confirm(Confirm),
    /// Sessions that are not this one.
    Sessions(Sessions),
    /// The kubeconfig's contexts.
    Contexts(Contexts),
    /// How several nodes' packets are shown.
    Sides(SidesView),
    /// The guided exit.
    Exit(ExitView),
}

impl Layer {
    /// Which keys are in force in it.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Help(reading) | Self::Notices(reading) if reading.typing => Scope::Text,
            Self::Help(_)
            | Self::Notices(_)
            | Self::History(_)
            | Self::Signal(_)
            | Self::Connection(_)
            | Self::Explanation(_) => Scope::Reading,
            Self::Filter(_) | Self::Command(_) | Self::Form(_) | Self::Typed(_) => Scope::Text,
            Self::Confirm(_) | Self::Sessions(_) | Self::Contexts(_) | Self::Sides(_) | Self::Exit(_) => Scope::Dialog,
        }
    }

    /// Something is done only after an answer.
    pub fn asks(&self) -> bool {
        matches!(self, Self::Confirm(_) | Self::Typed(_) | Self::Sides(_))
    }
}

impl App {
    /// A key in what lies on top.
    pub(in crate::screens) fn layer_key(&mut self, action: Action) -> Vec<Effect> {
        match self.top() {
            None => Vec::new(),
            Some(
                Layer::Help(_)
                | Layer::Notices(_)
                | Layer::History(_)
                | Layer::Signal(_)
                | Layer::Connection(_)
                | Layer::Explanation(_),
            ) => self.reading_key(action),
            Some(Layer::Filter(_)) => self.filter_key(action),
            Some(Layer::Command(_)) => self.command_key(action),
            Some(Layer::Form(_)) => self.form_key(action),
            Some(Layer::Typed(_)) => self.typed_key(action),
            Some(Layer::Confirm(_)) => self.confirm_key(action),
            Some(Layer::Sessions(_)) => self.sessions_key(action),
            Some(Layer::Contexts(_)) => self.contexts_key(action),
            Some(Layer::Sides(_)) => self.sides_key(action),
            Some(Layer::Exit(_)) => self.exit_key(action),
        }
    }

    /// What the session needs an answer to lies over everything else.
    pub(in crate::screens) fn show_what_the_session_asks(&mut self) {
        let is_exit = |layer: &Layer| matches!(layer, Layer::Exit(_));
        let is_sides = |layer: &Layer| matches!(layer, Layer::Sides(_));
        let is_leave = |layer: &Layer| matches!(layer, Layer::Confirm(Confirm::Leave));
        let (exit, waits) = (self.session.exit().is_some(), self.session.waiting().is_some());
        self.layers.retain(|layer| (exit || !is_exit(layer)) && (waits || !is_leave(layer)));
        if exit && !self.layers.iter().any(is_exit) {
            self.scroll = 0;
            self.open(Layer::Exit(ExitView::default()));
        }
        // It does not open over what is being typed or answered, and waits for that.
        if !self.session.showing.asked.is_empty() && self.layers.is_empty() {
            self.open(Layer::Sides(SidesView::default()));
        }
        if self.session.showing.asked.is_empty() {
            self.layers.retain(|layer| !is_sides(layer));
        }
        if waits && !self.layers.iter().any(is_leave) {
            self.open(Layer::Confirm(Confirm::Leave));
        }
    }
}
