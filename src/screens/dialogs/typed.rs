//! Texts that must be typed before something grave is done, and how long the session goes on.
//!
//! Owns what each text is for. Pure.

use tui_input::Input;

use crate::{
    base::text,
    model::{NodeName, Notice, SessionId},
    screens::{App, Layer, action::Action, text_field},
    session::{Effect, pending::Goal},
};

/// A text that has to be typed before something is done.
#[derive(Debug, Clone)]
pub struct Typed {
    /// What is done then.
    pub purpose: Purpose,
    /// The text so far.
    pub input: Input,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// What a typed text is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// The context's name, before the first deployment to a guarded context.
    Deploy {
        /// The context.
        context: String,
        /// The nodes.
        nodes: Vec<NodeName>,
        /// What for.
        goal: Goal,
    },
    /// Another laptop's session, by its id.
    Sweep(SessionId),
    /// That a session's cluster is the same by another way, by the session's id.
    Trust(SessionId),
    /// How long the session goes on from now.
    Budget,
}

impl App {
    /// Asks for a text.
    pub(in crate::screens) fn ask_typed(&mut self, purpose: Purpose) {
        let text = match &purpose {
            Purpose::Budget => {
                let left = self.session.life.ends.unwrap_or(self.session.now).saturating_sub(self.session.now);
                // What a minute later is another text is of no use in a field.
                text::lasting((left / 60_000).max(1) * 60_000)
            }
            Purpose::Deploy { .. } | Purpose::Sweep(_) | Purpose::Trust(_) => String::new(),
        };
        self.open(Layer::Typed(Typed { purpose, input: Input::new(text), error: None }));
    }

    /// A key while a text is typed.
    pub(in crate::screens) fn typed_key(&mut self, action: Action) -> Vec<Effect> {
        let Some(Layer::Typed(typed)) = self.layers.last_mut() else { return Vec::new() };
        match action {
            Action::Edit(edit) => {
                text_field::apply(&mut typed.input, edit);
                typed.error = None;
            }
            Action::Back => {
                self.close();
                self.past.to_follow.clear();
            }
            Action::Open => {
                let (purpose, text) = (typed.purpose.clone(), typed.input.value().trim().to_owned());
                match self.take_typed(purpose, &text) {
                    Ok(effects) => return effects,
                    Err(error) => {
                        if let Some(Layer::Typed(typed)) = self.layers.last_mut() {
                            typed.error = Some(error);
                        }
                    }
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn take_typed(&mut self, purpose: Purpose, text: &str) -> Result<Vec<Effect>, String> {
        match purpose {
            Purpose::Deploy { context, nodes, goal } => {
                if text != context {
                    return Err(format!("that is not {context:?}; nothing was deployed"));
                }
                self.close();
                self.session.unguard();
                Ok(self.session.deploy_for(&nodes, goal))
            }
            Purpose::Sweep(id) => {
                if text != id.as_str() {
                    return Err(format!("that is not {id}; nothing was removed"));
                }
                self.close();
                let mut notice = Notice::info(format!("removing session {id}"));
                "{sessions} shows its progress".clone_into(&mut notice.next_step);
                self.session.notify(notice.naming_keys());
                Ok(vec![Effect::Sweep(id)])
            }
            Purpose::Trust(id) => {
                if text != id.as_str() {
                    return Err(format!("that is not {id}; the session was left alone"));
                }
                self.close();
                Ok(vec![Effect::Trust(id)])
            }
            Purpose::Budget => {
                let effects = self.session.move_end(text)?;
                self.close();
                Ok(effects)
            }
        }
    }

    /// Moves the session's end.
    pub(in crate::screens) fn ask_budget(&mut self) {
        if self.session.life.ends.is_some() {
            self.ask_typed(Purpose::Budget);
        } else {
            self.session
                .notify(Notice::info("no end to move: the budget starts with the first deployment to a cluster"));
        }
    }
}
