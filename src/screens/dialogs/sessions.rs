//! Sessions that are not this one: leftovers, detached ones and those of other laptops, and what the user does to them.
//!
//! Owns the dialog that lists them. Pure.

use super::{Confirm, typed::Purpose};
use crate::{
    base::text,
    model::{Held, Holder, Notice, Removal, SessionId, SessionSummary},
    screens::{App, Layer, action::Action},
    session::{Effect, Next, Permission},
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

impl App {
    /// What was found at the start, or was asked for.
    pub(in crate::screens) fn found_sessions(&mut self, found: Result<Vec<SessionSummary>, Notice>, asked: bool) {
        let found = match found {
            Ok(found) => found,
            // At the start nobody has asked; the rights that it takes are not needed for anything else.
            Err(notice) if asked => return self.session.notify(notice),
            Err(_) => return,
        };
        // What another program here has open is nothing left over, but somebody who asks is to see it.
        let is_listed = |session: &SessionSummary| match session.holder {
            Holder::Running => asked && session.id != self.session.terms.id,
            Holder::Detached | Holder::Abandoned | Holder::Elsewhere => !session.objects.is_empty(),
        };
        let found: Vec<SessionSummary> = found.into_iter().filter(is_listed).collect();
        let ours = found.iter().any(|session| session.holder != Holder::Elsewhere);
        if found.is_empty() {
            if asked {
                self.session.notify(Notice::info("nothing left by other sessions"));
            }
        } else if self.layers.is_empty() && (asked || (ours && !self.hold.touched)) {
            let rows = found.into_iter().map(|session| (session, Sweep::Not)).collect();
            self.open(Layer::Sessions(Sessions { rows, cursor: 0 }));
        } else {
            let sessions = text::counted(found.len(), "other session");
            let mut notice = Notice::info(format!("{sessions} in this cluster"));
            "{sessions} lists them".clone_into(&mut notice.next_step);
            self.session.notify(notice.naming_keys());
        }
    }

    /// Whether the way to a session's cluster was taken over.
    pub(in crate::screens) fn trusted(&mut self, session: &SessionId, outcome: Result<(), Notice>) -> Vec<Effect> {
        match outcome {
            Ok(()) => {
                self.session.notify(Notice::info(format!("accepted the new connection for session {session}")));
                vec![Effect::FindSessions]
            }
            Err(notice) => {
                self.session.notify(notice);
                Vec::new()
            }
        }
    }

    /// A key in the list of sessions.
    pub(in crate::screens) fn sessions_key(&mut self, action: Action) -> Vec<Effect> {
        let Some(Layer::Sessions(sessions)) = self.layers.last_mut() else { return Vec::new() };
        let Some((session, sweep)) = sessions.rows.get(sessions.cursor) else {
            self.close();
            return Vec::new();
        };
        let (id, holder, agents) = (session.id.clone(), session.holder, session.agents());
        let idle = matches!(sweep, Sweep::Not | Sweep::Failed(_));
        let moved = session.moved;
        match action {
            Action::Up => sessions.cursor = sessions.cursor.saturating_sub(1),
            Action::Down => sessions.cursor = (sessions.cursor + 1).min(sessions.rows.len() - 1),
            Action::Back | Action::Quit => self.close(),
            Action::Open | Action::Remove if self.session.permission == Permission::ReadOnly => self.refuse_read_only(),
            Action::Open | Action::Remove if holder == Holder::Running => {
                let headline = "another nodewatch-tui on this laptop has this session open";
                self.session.notify(Notice::warning(headline, "", "leave it there first"));
            }
            Action::Open | Action::Remove if moved && idle => self.ask_typed(Purpose::Trust(id)),
            Action::Open if holder == Holder::Elsewhere => {
                self.session.notify(Notice::warning(
                    "this session belongs to another laptop",
                    "",
                    "attach to it there",
                ));
            }
            Action::Open if agents == 0 => {
                self.session.notify(
                    Notice::warning("this session has no agents left", "", "{remove} removes the rest").naming_keys(),
                );
            }
            Action::Open if self.session.life.began.is_some() => {
                let headline = "a session is already running here";
                self.session.notify(Notice::warning(
                    headline,
                    "",
                    format!("end it, then run: {}", text::command(["attach", id.as_str()])),
                ));
            }
            Action::Open => {
                self.close();
                return self.session.go_to(Next::Attach(id));
            }
            Action::Remove if idle && holder == Holder::Elsewhere => self.ask_typed(Purpose::Sweep(id)),
            Action::Remove if idle => return self.ask_sweep(id),
            _ => {}
        }
        Vec::new()
    }

    /// Says what would go, and what with it.
    fn ask_sweep(&mut self, id: SessionId) -> Vec<Effect> {
        let Some(Layer::Sessions(list)) = self.top() else { return Vec::new() };
        let mut rows = list.rows.iter();
        let agents = rows.any(|(session, _)| session.id == id && session.may_have_agents());
        // Without an agent there is no file.
        let held = (!agents).then(|| Ok(Vec::new()));
        let effects = if agents { vec![Effect::AskHeld(id.clone())] } else { Vec::new() };
        self.layers.push(Layer::Confirm(Confirm::Sweep { id, held }));
        effects
    }

    /// Its agents have said what they hold.
    pub(in crate::screens) fn session_holds(&mut self, id: &SessionId, told: Result<Vec<Held>, Notice>) {
        if let Some(Layer::Confirm(Confirm::Sweep { id: asked, held, .. })) = self.layers.last_mut()
            && asked == id
        {
            *held = Some(told);
        }
    }

    /// The list, also while a question lies over it.
    fn listed_sessions(&mut self) -> Option<&mut Sessions> {
        self.layers.iter_mut().find_map(|layer| match layer {
            Layer::Sessions(list) => Some(list),
            _ => None,
        })
    }

    pub(in crate::screens) fn sweep(&mut self, id: SessionId) -> Vec<Effect> {
        if let Some(sessions) = self.listed_sessions()
            && let Some((session, sweep)) = sessions.rows.iter_mut().find(|(session, _)| session.id == id)
        {
            *sweep = Sweep::Running(session.objects.len());
        }
        vec![Effect::Sweep(id)]
    }

    /// The removal of a listed session went on.
    pub(in crate::screens) fn swept(&mut self, id: &SessionId, removal: &Removal) {
        let mut ended = None;
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
                Removal::Removing(_)
                | Removal::Kept(_)
                | Removal::Noted(_)
                | Removal::Holds(_)
                | Removal::Silent(_)
                | Removal::Finished => {}
            }
        } else {
            // The list was closed meanwhile; a failure is told all the same.
            ended = match removal {
                Removal::Failed(object, reason) => {
                    Some(Notice::warning(format!("{} of session {id} remains", object.text()), reason.clone(), ""))
                }
                Removal::Refused(notice) => Some(notice.clone()),
                _ => None,
            };
        }
        if let Some(notice) = ended {
            self.session.notify(notice);
        }
    }
}
