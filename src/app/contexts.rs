//! Another context or namespace: chosen here, opened by the program once this session has ended.
//!
//! Owns the dialog that lists contexts, and when a switch has to wait for the guided exit. Sessions stay pinned to the
//! cluster that they began in. Pure.

use super::{
    App, Overlay,
    action::{Action, Effect, Next},
};
use crate::model::{ContextRow, Notice, Place};

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
    pub(super) fn found_contexts(&mut self, found: Result<Vec<ContextRow>, Notice>) {
        match found {
            Err(notice) => self.notify(notice),
            Ok(rows) if rows.is_empty() => self.notify(Notice::info("the kubeconfig has no contexts")),
            Ok(rows) => {
                self.contexts = rows.iter().map(|row| row.name.clone()).collect();
                if self.overlay.is_some() {
                    // Nothing opens over what is being typed or answered.
                    return;
                }
                let cursor = rows.iter().position(|row| self.is_here(&row.name)).unwrap_or(0);
                self.overlay = Some(Overlay::Contexts(Contexts { rows, cursor }));
            }
        }
    }

    /// Whether that is the context of this session.
    pub fn is_here(&self, name: &str) -> bool {
        matches!(&self.place, Place::Cluster { context, .. } if context == name)
    }

    /// A key in the list of contexts.
    pub(super) fn contexts_key(&mut self, action: Action) -> Vec<Effect> {
        let Some(Overlay::Contexts(contexts)) = &mut self.overlay else { return Vec::new() };
        let last = contexts.rows.len().saturating_sub(1);
        match action {
            Action::Up => contexts.cursor = contexts.cursor.saturating_sub(1),
            Action::Down => contexts.cursor = (contexts.cursor + 1).min(last),
            Action::PageUp => contexts.cursor = contexts.cursor.saturating_sub(10),
            Action::PageDown => contexts.cursor = (contexts.cursor + 10).min(last),
            Action::Open => {
                let name = contexts.rows.get(contexts.cursor).map(|row| row.name.clone());
                self.overlay = None;
                if let Some(name) = name {
                    return self.switch(Next::Context(name));
                }
            }
            Action::Back | Action::Quit => self.overlay = None,
            _ => {}
        }
        Vec::new()
    }

    /// Goes on elsewhere: at once where nothing was made, otherwise by the guided exit.
    pub(super) fn switch(&mut self, next: Next) -> Vec<Effect> {
        if matches!(&next, Next::Context(name) if self.is_here(name)) {
            self.notify(Notice::info("this is that context already"));
            return Vec::new();
        }
        let target = match &next {
            Next::Context(name) => format!("context {name}"),
            Next::Namespace(Some(name)) => format!("namespace {name}"),
            Next::Namespace(None) => "a namespace of the session's own".to_owned(),
            Next::Attach(session) => format!("session {session}"),
        };
        self.next = Some(next);
        if self.nodes.values().any(|state| state.agent.is_deployed()) {
            let headline = format!("this session stays in its cluster: leave it, then comes {target}");
            self.notify(Notice::info(headline));
        }
        self.leave(false)
    }
}
