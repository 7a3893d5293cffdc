//! Another context or namespace: chosen here, opened by the program once this session has ended.
//!
//! Owns the dialog that lists contexts, and when a switch has to wait for the guided exit. Sessions stay pinned to the
//! cluster that they began in. Pure.

use crate::{
    model::{ContextRow, Notice},
    screens::{App, Layer, action::Action},
    session::{Effect, Next},
};

/// The list of contexts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contexts {
    /// The kubeconfig's contexts.
    pub rows: Vec<ContextRow>,
    /// The selected one.
    pub cursor: usize,
}

impl App {
    /// What the kubeconfig has.
    pub(in crate::screens) fn found_contexts(&mut self, found: Result<Vec<ContextRow>, Notice>) {
        match found {
            Err(notice) => self.session.notify(notice),
            Ok(rows) if rows.is_empty() => self.session.notify(Notice::info("the kubeconfig has no contexts")),
            Ok(rows) => {
                self.past.commands.contexts = rows.iter().map(|row| row.name.clone()).collect();
                if !self.layers.is_empty() {
                    // Nothing opens over what is being typed or answered.
                    return;
                }
                let cursor = rows.iter().position(|row| self.session.is_here(&row.name)).unwrap_or(0);
                self.open(Layer::Contexts(Contexts { rows, cursor }));
            }
        }
    }

    /// A key in the list of contexts.
    pub(in crate::screens) fn contexts_key(&mut self, action: Action) -> Vec<Effect> {
        let Some(Layer::Contexts(contexts)) = self.layers.last_mut() else { return Vec::new() };
        let last = contexts.rows.len().saturating_sub(1);
        match action {
            Action::Up => contexts.cursor = contexts.cursor.saturating_sub(1),
            Action::Down => contexts.cursor = (contexts.cursor + 1).min(last),
            Action::PageUp => contexts.cursor = contexts.cursor.saturating_sub(10),
            Action::PageDown => contexts.cursor = (contexts.cursor + 10).min(last),
            Action::Open => {
                let name = contexts.rows.get(contexts.cursor).map(|row| row.name.clone());
                self.close();
                if let Some(name) = name {
                    return self.session.switch(Next::Context(name));
                }
            }
            Action::Back | Action::Quit => self.close(),
            _ => {}
        }
        Vec::new()
    }
}
