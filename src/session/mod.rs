//! A session: everything that is true of it, and the one function that changes it.
//!
//! Owns nodes, captures, files, ports, reports, what was made and how the session is left. Must not know what is seen of
//! it: no key, no cursor, no dialog. No I/O and no clock: time comes in with each event, and what is to be done goes out
//! as [`Effect`]s. Its fields change nowhere else.

mod agents;
pub mod answers;
pub mod bundles;
mod captures;
pub mod delivery;
mod earlier;
mod event;
pub mod exit;
pub mod files;
pub mod filter;
pub mod grant;
mod homing;
mod images;
pub mod joining;
mod journal;
mod leaving;
pub mod ledger;
mod metrics;
pub mod node;
mod nodes;
mod outcome;
pub mod pending;
pub mod port_reports;
pub mod ports;
pub mod probes;
pub mod receipt;
pub mod recorders;
mod showing;
mod summary;
pub mod targets;
mod terms;
mod update;
mod watching;
mod wishes;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Debug,
    time::Duration,
};

use nodewatch_protocol::UnixMillis;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use event::{Effect, Event, Happened, Job, Next, NoInput};
pub use outcome::what_is_missing;
pub use terms::{FileTerms, LEASE, S3Terms, SinkTerms, Terms};
pub use update::update;

use self::{
    answers::Answering, exit::Leaving, files::Transfers, joining::Joining, node::NodeState, port_reports::Reports,
    ports::Ports, showing::Showing, targets::Aim, work::Work,
};
use crate::{
    base::text,
    model::{AgentImage, NodeName, Notice, Place, SessionId, Summary},
};

/// How long before its end a session says so, in milliseconds.
const REMIND_BEFORE: u64 = 600_000;
/// Notices kept.
const MAX_NOTICES: usize = 200;

/// Whether the cluster may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permission {
    /// It may.
    Free,
    /// Once the context's name was typed.
    Guarded,
    /// It may not.
    ReadOnly,
}

/// Whether the list of nodes can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// Not answered yet.
    Loading,
    /// As the watch has it.
    Current,
    /// The watch fails; what is shown is old.
    Stale(Notice),
}

/// From the first deployment to the end. Times are by the laptop's steady clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Life {
    /// When the first deployment was asked for.
    pub began: Option<UnixMillis>,
    /// When the agents end by themselves.
    pub ends: Option<UnixMillis>,
    /// The end that the user was reminded of.
    reminded: Option<UnixMillis>,
    /// The end before which captures were ended.
    called: Option<UnixMillis>,
    /// When this program took it up, where another one began it.
    pub attached: Option<UnixMillis>,
    /// When something of it was last seen gone.
    last_gone: Option<UnixMillis>,
    /// When metrics were last due.
    measured: Option<UnixMillis>,
}

impl Life {
    /// In a cluster agents end so long after this, unless the end was fixed before.
    fn begin(&mut self, now: UnixMillis, terms: &Terms) {
        self.began.get_or_insert(now);
        if terms.place != Place::Local {
            self.ends.get_or_insert(now + terms.budget.as_millis() as u64);
        }
    }
}

/// The whole state.
#[derive(Debug, Clone)]
pub struct Session {
    /// What it began with.
    pub terms: Terms,
    /// When it began and when it ends.
    pub life: Life,
    /// Whether the cluster may be changed now.
    pub permission: Permission,
    /// The image that agents are deployed from now.
    pub image: AgentImage,
    /// By the laptop's steady clock, as of the last event. Every time in here is by it, unless it says otherwise.
    pub now: UnixMillis,
    /// How far the clock on the laptop's wall is ahead of that, in milliseconds.
    pub wall_ahead: i64,
    /// The nodes by name.
    pub nodes: BTreeMap<NodeName, NodeState>,
    /// Whether they are all.
    pub listing: Listing,
    /// Chosen nodes; where all are meant, those that join are chosen as they come.
    pub marks: BTreeSet<NodeName>,
    /// Whether all nodes are meant, also those that join.
    pub joining: Joining,
    /// What is captured whichever nodes it is on.
    pub aim: Option<Aim>,
    /// How several nodes' packets are shown.
    pub showing: Showing,
    /// What moves, and what S3 has.
    pub transfers: Transfers,
    /// What should be open, is left out and was probed.
    pub ports: Ports,
    /// Why connections fail.
    pub answers: Answering,
    /// How reports stand, when they go to CloudWatch Logs.
    pub reports: Option<Reports>,
    /// What is under way beside the agents.
    work: Work,
    /// How it is being left.
    pub leaving: Leaving,
    /// What was seen and done before this program took it up.
    earlier: Option<Box<Summary>>,
    /// What the program is to go on with when this session has ended.
    pub next: Option<Next>,
    /// Notices, oldest first.
    pub notices: VecDeque<(UnixMillis, Notice)>,
}

/// Something that events change and that effects come out of: a session alone, or one with screens over it.
pub trait State: Debug {
    /// What a user does; of a session alone there is none.
    type Input: Debug + Clone + Serialize + DeserializeOwned;

    /// Before the first event.
    fn begin(terms: Terms) -> Self;

    /// Takes in what has happened and says what is to be done.
    fn take_in(&mut self, happened: Happened<Self::Input>, now: UnixMillis) -> Vec<Effect>;

    /// What is true.
    fn session(&self) -> &Session;
}

impl State for Session {
    type Input = NoInput;

    fn begin(terms: Terms) -> Self {
        Self::new(terms)
    }

    fn take_in(&mut self, happened: Happened<NoInput>, now: UnixMillis) -> Vec<Effect> {
        match happened {
            Happened::Event(event) => update(self, event, now),
            Happened::Input(none) => match none {},
        }
    }

    fn session(&self) -> &Session {
        self
    }
}

impl Session {
    /// Nothing known yet.
    pub fn new(terms: Terms) -> Self {
        Self {
            life: Life::default(),
            permission: terms.permission,
            image: terms.image.clone(),
            now: 0,
            wall_ahead: 0,
            nodes: BTreeMap::new(),
            listing: Listing::Loading,
            marks: BTreeSet::new(),
            joining: Joining::default(),
            aim: None,
            showing: Showing::default(),
            transfers: Transfers { homing: terms.files.bring_home, ..Transfers::default() },
            ports: Ports::default(),
            answers: Answering::default(),
            reports: terms.sinks.reports.clone().map(Reports::new),
            work: Work::default(),
            leaving: Leaving::Not,
            earlier: None,
            next: None,
            notices: VecDeque::new(),
            terms,
        }
    }

    /// One for which the user has set nothing.
    pub fn plain(place: Place, id: SessionId, budget: Duration) -> Self {
        Self::new(Terms::new(place, id, budget))
    }

    /// What the clock on the wall shows at a time, for people and for what others keep.
    pub fn wall(&self, at: UnixMillis) -> UnixMillis {
        at.saturating_add_signed(self.wall_ahead)
    }

    /// The time at which the clock on the wall shows that.
    fn steady(&self, wall: UnixMillis) -> UnixMillis {
        wall.saturating_add_signed(self.wall_ahead.saturating_neg())
    }

    /// How many nodes have an agent that is live, and how many have one at all; `None` once they are being removed.
    pub fn agents(&self) -> Option<(usize, usize)> {
        let count = self.nodes.values().fold((0, 0), |(live, deployed), state| {
            (live + usize::from(state.is_live()), deployed + usize::from(state.agent.is_deployed()))
        });
        (!self.removes_agents()).then_some(count)
    }

    /// One word for a node's agent, as the session has it.
    pub fn agent_word(&self, state: &NodeState) -> &'static str {
        if !(self.removes_agents() && state.agent.runs()) {
            return state.agent_word();
        }
        if self.ended().is_some() { "removed" } else { "removing" }
    }

    /// How the place is written in the header.
    pub fn place_text(&self) -> String {
        match &self.terms.place {
            Place::Local => "this machine".to_owned(),
            Place::Cluster { context, flavour: Some(flavour) } => format!("{context} ({flavour})"),
            Place::Cluster { context, flavour: None } => context.clone(),
        }
    }

    /// Whether that is the context of this session.
    pub fn is_here(&self, name: &str) -> bool {
        matches!(&self.terms.place, Place::Cluster { context, .. } if context == name)
    }

    /// So late it is.
    pub(crate) fn set_now(&mut self, now: UnixMillis) {
        self.now = now;
    }

    /// The context's name was typed: its cluster may be changed.
    pub(crate) fn unguard(&mut self) {
        self.permission = Permission::Free;
    }

    /// Ends the session in so long from now.
    pub(crate) fn move_end(&mut self, text: &str) -> Result<Vec<Effect>, String> {
        let left = text::parse_budget(text)?;
        if self.life.ends.is_none() {
            return Err("no end to move: the budget starts with the first deployment to a cluster".to_owned());
        }
        if self.permission == Permission::ReadOnly {
            return Err("read-only: nothing was changed".to_owned());
        }
        let ends = self.now + left.as_millis() as u64;
        self.life.ends = Some(ends);
        let mut effects = vec![Effect::SetEnds(self.wall(ends))];
        effects.extend(self.tell_terms());
        Ok(effects)
    }

    /// Something that the user should know.
    pub(crate) fn notify(&mut self, notice: Notice) {
        if self.notices.len() == MAX_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back((self.now, notice));
    }
}
