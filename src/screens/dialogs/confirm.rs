//! Questions that Enter says yes to.
//!
//! Owns what each is about and what follows from a yes and from a no. Pure.

use nodewatch_protocol::CaptureSpec;

use super::Layer;
use crate::{
    model::{Held, NodeName, Notice, SessionId},
    screens::{App, action::Action},
    session::{
        Effect,
        files::{FileKey, remove_files},
        node::NodeState,
        pending::{Goal, Running},
    },
};

/// Questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirm {
    /// Deploy from the default image, which is published nowhere.
    DefaultImage(Vec<NodeName>, Goal),
    /// Deploy to several nodes, and what for.
    Deploy(Vec<NodeName>, Goal),
    /// Stop captures on several nodes, or one whose flight recorder holds what nobody has saved.
    StopCaptures(Vec<NodeName>),
    /// Watch several nodes no more.
    StopWatching(Vec<NodeName>),
    /// Capture payloads too.
    FullContent(Vec<NodeName>, Box<CaptureSpec>, Running),
    /// Remove files for good.
    RemoveFiles {
        /// In agents' rings.
        on_nodes: Vec<(NodeName, String)>,
        /// In S3, by key.
        stored: Vec<String>,
        /// Of all of them.
        bytes: u64,
        /// Those that nobody has then.
        lost: Vec<FileKey>,
    },
    /// Act on what is marked, some of which is not shown.
    Hidden {
        /// What was asked for.
        action: Action,
        /// What is not shown.
        hidden: Vec<String>,
    },
    /// Remove a session that is not this one.
    Sweep {
        /// Which.
        id: SessionId,
        /// What its agents have that nobody else has, once they have said.
        held: Option<Result<Vec<Held>, Notice>>,
    },
    /// Leave although something is under way; without an answer the program ends once nothing is.
    Leave,
}

impl App {
    /// A key while a question is open.
    pub(in crate::screens) fn confirm_key(&mut self, action: Action) -> Vec<Effect> {
        let Some(Layer::Confirm(question)) = self.top() else { return Vec::new() };
        match (action, question.clone()) {
            (Action::Open, Confirm::Leave) => self.session.quit_now(),
            (Action::Freeze, Confirm::StopCaptures(names)) => {
                self.close();
                let armed = |name: &NodeName| self.session.nodes.get(name).is_some_and(NodeState::has_recorder);
                let armed: Vec<NodeName> = names.into_iter().filter(armed).collect();
                self.session.freeze(armed)
            }
            (Action::Open, question) => {
                self.close();
                self.confirmed(question)
            }
            (Action::Back | Action::Quit, question) => {
                self.past.to_follow.clear();
                match question {
                    Confirm::Leave => self.session.stay(),
                    _ => self.close(),
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn confirmed(&mut self, question: Confirm) -> Vec<Effect> {
        match question {
            Confirm::DefaultImage(names, goal) => {
                self.choices.default_image = true;
                self.deploy_if_permitted(names, goal)
            }
            Confirm::Deploy(names, goal) => self.session.deploy_for(&names, goal),
            Confirm::StopCaptures(names) => self.session.stop_captures(names),
            Confirm::StopWatching(names) => self.session.stop_watching(&names),
            Confirm::FullContent(names, spec, running) => {
                self.choices.full_content = true;
                self.ask_deploy_for_captures(names, *spec, running)
            }
            Confirm::RemoveFiles { on_nodes, stored, .. } => {
                self.files.marks.clear();
                remove_files(on_nodes, stored)
            }
            Confirm::Hidden { action, .. } => self.press(action),
            Confirm::Sweep { id, .. } => self.sweep(id),
            Confirm::Leave => Vec::new(),
        }
    }
}
