//! Sessions that are not this one: leftovers, detached ones and those of other laptops, and what the user does to them.
//!
//! Owns the dialog that lists them, and the texts that must be typed before something grave. Pure.

use tui_input::Input;

use super::{
    App, Confirm, Overlay, Permission,
    action::{Action, Effect, Next},
    form,
    pending::Goal,
};
use crate::{
    base::text,
    model::{Held, Holder, NodeName, Notice, Place, Removal, SessionId, SessionSummary},
};

/// How the removal of a listed session goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sweep {
    /// Nobody has asked for it.
    Not,
    /// So many objects are not yet seen gone.
    Running(usize),
    /// Everything was seen gone.
    Gone,
    /// What stays, and why.
    Failed(String),
}

/// The list of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    /// The sessions, oldest first.
    pub rows: Vec<(SessionSummary, Sweep)>,
    /// The selected one.
    pub cursor: usize,
}

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

/// What would be lost of an agent with its ring, for people.
pub fn held_text(held: &Held) -> String {
    let capture = if held.capturing { "a running capture and " } else { "" };
    let files = text::counted(usize::try_from(held.files).unwrap_or(usize::MAX), "file");
    format!("{}: {capture}{files} of {} that nobody else has", text::visible(&held.node.0), text::bytes(held.bytes))
}

impl App {
    /// What was found at the start, or was asked for.
    pub(super) fn found_sessions(&mut self, found: Result<Vec<SessionSummary>, Notice>, asked: bool) {
        let found = match found {
            Ok(found) => found,
            // At the start nobody has asked; the rights that it takes are not needed for anything else.
            Err(notice) if asked => return self.notify(notice),
            Err(_) => return,
        };
        let found: Vec<SessionSummary> = found
            .into_iter()
            .filter(|session| session.holder != Holder::Running && !session.objects.is_empty())
            .collect();
        let ours = found.iter().any(|session| session.holder != Holder::Elsewhere);
        if found.is_empty() {
            if asked {
                self.notify(Notice::info("no other session has left anything here"));
            }
        } else if self.overlay.is_none() && (asked || (ours && !self.touched)) {
            let rows = found.into_iter().map(|session| (session, Sweep::Not)).collect();
            self.overlay = Some(Overlay::Sessions(Sessions { rows, cursor: 0 }));
        } else {
            let sessions = text::counted(found.len(), "other session");
            let mut notice = Notice::info(format!("{sessions} in this cluster"));
            "{sessions} lists them".clone_into(&mut notice.next_step);
            self.notify(notice.naming_keys());
        }
    }

    /// Whether the way to a session's cluster was taken over.
    pub(super) fn trusted(&mut self, session: &SessionId, outcome: Result<(), Notice>) -> Vec<Effect> {
        match outcome {
            Ok(()) => {
                self.notify(Notice::info(format!("the way to the cluster of session {session} is taken over")));
                vec![Effect::FindSessions]
            }
            Err(notice) => {
                self.notify(notice);
                Vec::new()
            }
        }
    }

    /// A key in the list of sessions.
    pub(super) fn sessions_key(&mut self, action: Action) -> Vec<Effect> {
        let Some(Overlay::Sessions(sessions)) = &mut self.overlay else { return Vec::new() };
        let Some((session, sweep)) = sessions.rows.get(sessions.cursor) else {
            self.overlay = None;
            return Vec::new();
        };
        let (id, holder, agents) = (session.id.clone(), session.holder, session.agents());
        let idle = matches!(sweep, Sweep::Not | Sweep::Failed(_));
        let moved = session.moved;
        match action {
            Action::Up => sessions.cursor = sessions.cursor.saturating_sub(1),
            Action::Down => sessions.cursor = (sessions.cursor + 1).min(sessions.rows.len() - 1),
            Action::Back | Action::Quit => self.overlay = None,
            Action::Open | Action::Remove if self.permission == Permission::ReadOnly => self.refuse_read_only(),
            Action::Open | Action::Remove if moved && idle => self.ask_typed(Purpose::Trust(id)),
            Action::Open if holder == Holder::Elsewhere => {
                self.notify(Notice::warning("this session is another laptop's", "", "attach to it there"));
            }
            Action::Open if agents == 0 => {
                self.notify(
                    Notice::warning("there is no agent left of this session", "", "{remove} removes the rest")
                        .naming_keys(),
                );
            }
            Action::Open if self.session.began.is_some() => {
                let headline = "this program has a session already";
                self.notify(Notice::warning(
                    headline,
                    "",
                    format!("leave it, then: {}", text::command(["attach", id.as_str()])),
                ));
            }
            Action::Open => {
                self.next = Some(Next::Attach(id));
                self.overlay = None;
                return self.leave(false);
            }
            Action::Remove if idle && holder == Holder::Elsewhere => self.ask_typed(Purpose::Sweep(id)),
            Action::Remove if idle => return self.ask_sweep(id),
            _ => {}
        }
        Vec::new()
    }

    /// Says what would go, and what with it.
    fn ask_sweep(&mut self, id: SessionId) -> Vec<Effect> {
        let Some(Overlay::Sessions(list)) = self.overlay.take() else { return Vec::new() };
        let mut rows = list.rows.iter();
        let agents = rows.any(|(session, _)| session.id == id && session.may_have_agents());
        // Without an agent there is no file.
        let held = (!agents).then(|| Ok(Vec::new()));
        let effects = if agents { vec![Effect::AskHeld(id.clone())] } else { Vec::new() };
        self.overlay = Some(Overlay::Confirm(Confirm::Sweep { list: Box::new(list), id, held }));
        effects
    }

    /// Its agents have said what they hold.
    pub(super) fn session_holds(&mut self, id: &SessionId, told: Result<Vec<Held>, Notice>) {
        if let Some(Overlay::Confirm(Confirm::Sweep { id: asked, held, .. })) = &mut self.overlay
            && asked == id
        {
            *held = Some(told);
        }
    }

    /// The list, also while a question lies over it.
    fn listed_sessions(&mut self) -> Option<&mut Sessions> {
        match &mut self.overlay {
            Some(Overlay::Sessions(list)) => Some(list),
            Some(Overlay::Confirm(Confirm::Sweep { list, .. })) => Some(list),
            _ => None,
        }
    }

    pub(super) fn sweep(&mut self, id: SessionId) -> Vec<Effect> {
        if let Some(Overlay::Sessions(sessions)) = &mut self.overlay
            && let Some((session, sweep)) = sessions.rows.iter_mut().find(|(session, _)| session.id == id)
        {
            *sweep = Sweep::Running(session.objects.len());
        }
        vec![Effect::Sweep(id)]
    }

    /// The removal of a listed session went on.
    pub(super) fn swept(&mut self, id: &SessionId, removal: &Removal) {
        let mut ended = None;
        if *removal == Removal::Finished {
            self.work.swept(id);
        }
        if let Some(sessions) = self.listed_sessions()
            && let Some((_, sweep)) = sessions.rows.iter_mut().find(|(session, _)| session.id == *id)
        {
            match removal {
                Removal::Gone(_) => {
                    if let Sweep::Running(left) = sweep {
                        *left = left.saturating_sub(1);
                    }
                }
                Removal::Failed(object, reason) => *sweep = Sweep::Failed(format!("{}: {reason}", object.text())),
                Removal::Refused(notice) => *sweep = Sweep::Failed(notice.line()),
                Removal::Finished if matches!(sweep, Sweep::Running(_)) => *sweep = Sweep::Gone,
                Removal::Removing(_) | Removal::Kept(_) | Removal::Noted(_) | Removal::Holds(_) | Removal::Finished => {
                }
            }
        } else {
            // The list was closed meanwhile; a failure is told all the same.
            ended = match removal {
                Removal::Failed(object, reason) => {
                    Some(Notice::warning(format!("{} of session {id} is left", object.text()), reason.clone(), ""))
                }
                Removal::Refused(notice) => Some(notice.clone()),
                _ => None,
            };
        }
        if let Some(notice) = ended {
            self.notify(notice);
        }
    }

    /// Asks for a text.
    pub(super) fn ask_typed(&mut self, purpose: Purpose) {
        let text = match &purpose {
            Purpose::Budget => {
                let left = self.session.ends.unwrap_or(self.now).saturating_sub(self.now) / 60_000;
                format!("{}m", left.max(1))
            }
            Purpose::Deploy { .. } | Purpose::Sweep(_) | Purpose::Trust(_) => String::new(),
        };
        self.overlay = Some(Overlay::Typed(Typed { purpose, input: Input::new(text), error: None }));
    }

    /// A key while a text is typed.
    pub(super) fn typed_key(&mut self, action: Action) -> Vec<Effect> {
        let Some(Overlay::Typed(typed)) = &mut self.overlay else { return Vec::new() };
        match action {
            Action::Edit(edit) => {
                form::apply(&mut typed.input, edit);
                typed.error = None;
            }
            Action::Back => {
                self.overlay = None;
                self.to_follow.clear();
            }
            Action::Open => {
                let (purpose, text) = (typed.purpose.clone(), typed.input.value().trim().to_owned());
                match self.take_typed(purpose, &text) {
                    Ok(effects) => return effects,
                    Err(error) => {
                        if let Some(Overlay::Typed(typed)) = &mut self.overlay {
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
                    return Err(format!("that is not {context:?}; Esc deploys nothing"));
                }
                self.permission = Permission::Free;
                self.overlay = None;
                Ok(self.deploy_for(&nodes, goal))
            }
            Purpose::Sweep(id) => {
                if text != id.as_str() {
                    return Err(format!("that is not {id}; Esc removes nothing"));
                }
                self.overlay = None;
                let mut notice = Notice::info(format!("session {id} is being removed"));
                "{sessions} shows whether it is gone".clone_into(&mut notice.next_step);
                self.notify(notice.naming_keys());
                Ok(vec![Effect::Sweep(id)])
            }
            Purpose::Trust(id) => {
                if text != id.as_str() {
                    return Err(format!("that is not {id}; Esc leaves the session alone"));
                }
                self.overlay = None;
                Ok(vec![Effect::Trust(id)])
            }
            Purpose::Budget => {
                let effects = self.move_end(text)?;
                self.overlay = None;
                Ok(effects)
            }
        }
    }

    /// Ends the session in so long from now.
    pub(super) fn move_end(&mut self, text: &str) -> Result<Vec<Effect>, String> {
        let left = text::parse_budget(text)?;
        if self.session.ends.is_none() {
            return Err("there is no end to move: a budget begins with the first deployment to a cluster".to_owned());
        }
        if self.permission == Permission::ReadOnly {
            return Err("nothing is changed: this is read-only".to_owned());
        }
        let ends = self.now + left.as_millis() as u64;
        self.session.ends = Some(ends);
        let mut effects = vec![Effect::SetEnds(self.wall(ends))];
        effects.extend(self.tell_terms());
        Ok(effects)
    }

    /// Moves the session's end.
    pub(super) fn ask_budget(&mut self) {
        if self.session.ends.is_some() {
            self.ask_typed(Purpose::Budget);
        } else {
            self.notify(Notice::info(
                "there is no end to move: a budget begins with the first deployment to a cluster",
            ));
        }
    }

    pub(super) fn refuse_read_only(&mut self) {
        self.notify(Notice::warning("nothing is changed", "this is read-only", "start without --read-only"));
    }

    /// Deploys where that needs no further word, otherwise asks for it.
    pub(super) fn deploy_if_permitted(&mut self, nodes: Vec<NodeName>, goal: Goal) -> Vec<Effect> {
        match (&self.permission, &self.place) {
            (Permission::ReadOnly, _) => {
                self.refuse_read_only();
                Vec::new()
            }
            (Permission::Guarded, Place::Cluster { context, .. }) => {
                let context = context.clone();
                self.ask_typed(Purpose::Deploy { context, nodes, goal });
                Vec::new()
            }
            // More rights than usual are asked about each time.
            (Permission::Guarded | Permission::Free, _)
                if nodes.len() != 1 || self.ports.processes || self.joining.is_wanted() =>
            {
                self.overlay = Some(Overlay::Confirm(Confirm::Deploy(nodes, goal)));
                Vec::new()
            }
            (Permission::Guarded | Permission::Free, _) => self.deploy_for(&nodes, goal),
        }
    }
}
