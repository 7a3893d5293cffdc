//! The app: everything on the screens as plain state, and the one function that changes it.
//!
//! Owns screens, marks, cursor, notices and what each event does to them. No I/O, no clock, no drawing: time comes in
//! with each event, and what is to be done goes out as [`Effect`]s.

pub mod action;
mod agents;
mod captures;
pub mod command;
pub mod contexts;
pub mod cursor;
pub mod delivery;
pub mod events;
pub mod exit;
pub mod files;
pub mod filter;
pub mod form;
pub mod grant;
mod hidden;
mod homing;
pub mod joining;
mod leave;
mod list;
pub mod node;
mod open_ports;
mod outcome;
mod pause;
pub mod pending;
pub mod ports;
pub mod receipt;
pub mod reports;
mod rollup;
pub mod selector;
pub mod sessions;
mod sieve;
mod sort;
pub mod summary;
pub mod table;
mod trail;
mod typing;
mod update;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    time::Duration,
};

use nodewatch_protocol::{CaptureSpec, Freeze, UnixMillis};
use serde::{Deserialize, Serialize};
use tui_input::Input;

pub use action::{Action, Edit, Effect, Event, Job, Next, Pointed};
pub use outcome::what_is_missing;
pub use sieve::PortFilter;
pub use sort::{Column, Order};
pub use update::update;

use self::{
    contexts::Contexts,
    cursor::{Cursor, FileKey, RowKey},
    delivery::StorageInfo,
    events::Events,
    exit::Exit,
    files::Files,
    filter::Filter,
    form::CaptureForm,
    joining::Joining,
    node::{Agent, NodeState},
    pending::Goal,
    ports::Ports,
    reports::{History, Reports},
    sessions::{Sessions, Typed},
    trail::Trail,
    work::Work,
};
use crate::model::{Held, NodeName, Notice, Place, SessionId};

/// How long agents go on without a heartbeat, unless the user says otherwise.
pub const LEASE: Duration = Duration::from_secs(600);
/// How long before its end a session says so, in milliseconds.
const REMIND_BEFORE: u64 = 600_000;
/// Notices kept.
const MAX_NOTICES: usize = 200;
/// How long a notice stays in the bottom line, in milliseconds.
pub const NOTICE_SHOWN: u64 = 8_000;

/// A node's views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    Ports,
    Capture,
    Flows,
    Files,
    Events,
}

impl View {
    /// In the order of the tabs.
    pub const ALL: [Self; 5] = [Self::Ports, Self::Capture, Self::Flows, Self::Files, Self::Events];

    /// The tab's title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ports => "Ports",
            Self::Capture => "Capture",
            Self::Flows => "Flows",
            Self::Files => "Files",
            Self::Events => "Events",
        }
    }

    fn step(self, by: isize) -> Self {
        let at = Self::ALL.iter().position(|&view| view == self).unwrap_or(0) as isize;
        Self::ALL[(at + by).rem_euclid(Self::ALL.len() as isize) as usize]
    }
}

/// What fills the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Screen {
    /// The list of nodes, with one node's view below it.
    Nodes,
    /// One node.
    Node(NodeName),
    /// Every capture file.
    Files,
    /// The open ports of all nodes.
    Ports,
    /// What happened on all nodes.
    Events,
}

/// What lies over the screen and takes the keys.
#[derive(Debug, Clone)]
pub enum Overlay {
    /// All keys.
    Help,
    /// Past notices.
    Notices,
    /// The screen's filter is being typed; the filter before it comes back on Esc.
    FilterInput {
        /// The text so far.
        input: Input,
        /// What is wrong with it.
        error: Option<String>,
        /// The filter that was in force.
        before: String,
    },
    /// A command is being typed.
    Command {
        /// The text so far.
        input: Input,
        /// What is wrong with it.
        error: Option<String>,
        /// How many commands back, when an earlier one was brought back.
        recalled: usize,
    },
    /// Past reports.
    History(History),
    /// The capture form.
    Form(Box<CaptureForm>),
    /// A question that Enter says yes to.
    Confirm(Confirm),
    /// Sessions that are not this one.
    Sessions(Sessions),
    /// The kubeconfig's contexts.
    Contexts(Contexts),
    /// A text that must be typed.
    Typed(Typed),
    /// The guided exit.
    Exit(Exit),
}

/// Questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirm {
    /// Deploy to several nodes, and what for.
    Deploy(Vec<NodeName>, Goal),
    /// Stop captures on several nodes.
    StopCaptures(Vec<NodeName>),
    /// Capture payloads too.
    FullContent(Vec<NodeName>, Box<CaptureSpec>),
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
        /// The list that it is in.
        list: Box<Sessions>,
        /// Which.
        id: SessionId,
        /// What its agents have that nobody else has, once they have said.
        held: Option<Result<Vec<Held>, Notice>>,
    },
    /// Leave although something is under way; without an answer the program ends once nothing is.
    Leave {
        /// When it ends in any case.
        until: Option<UnixMillis>,
    },
}

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

/// Which set of keys is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The list of nodes.
    List,
    /// One node.
    Node,
    /// The files.
    Files,
    /// The ports of all nodes.
    Ports,
    /// What happened on all nodes.
    Events,
    /// A text field or a form.
    Text,
    /// A question or the guided exit.
    Dialog,
    /// Help and notices.
    Reading,
}

impl Scope {
    /// Every scope.
    pub const ALL: &[Self] =
        &[Self::List, Self::Node, Self::Files, Self::Ports, Self::Events, Self::Text, Self::Dialog, Self::Reading];

    /// Its name, for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::List => "nodes",
            Self::Node => "node",
            Self::Files => "files",
            Self::Ports => "ports",
            Self::Events => "events",
            Self::Text => "text",
            Self::Dialog => "dialogs",
            Self::Reading => "help and notices",
        }
    }
}

/// What of a screen is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Layout {
    /// More columns in the list of nodes.
    pub wide: bool,
    /// Only rows with something at fault.
    pub faults_only: bool,
    /// The list or view alone.
    pub zoomed: bool,
    /// Columns of the list that are scrolled away to the left.
    pub first_column: usize,
    /// The part of the capture chart that was picked, in milliseconds since 1970.
    pub window: Option<(UnixMillis, UnixMillis)>,
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

/// A session's facts for the header.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// How long agents may run, unless the end is moved.
    pub budget: Duration,
    /// How long agents go on without hearing from this program.
    pub lease: Duration,
    /// When the first deployment was asked for.
    pub began: Option<UnixMillis>,
    /// When the agents end by themselves.
    pub ends: Option<UnixMillis>,
    /// The end that the user was reminded of.
    reminded: Option<UnixMillis>,
    /// The end before which captures were ended.
    called: Option<UnixMillis>,
}

impl Session {
    /// In a cluster agents end so long after this, unless the end was fixed before.
    fn begin(&mut self, now: UnixMillis, place: &Place) {
        self.began.get_or_insert(now);
        if *place != Place::Local {
            self.ends.get_or_insert(now + self.budget.as_millis() as u64);
        }
    }
}

/// The whole state.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own, and none is a screen or a phase")]
pub struct App {
    /// Where the nodes are.
    pub place: Place,
    /// The session.
    pub session: Session,
    /// The namespace for agents, where it is not the session's own.
    pub namespace: Option<String>,
    /// Whether the cluster may be changed.
    pub permission: Permission,
    /// What the program is to go on with when this session has ended.
    pub next: Option<Next>,
    /// Nothing was deployed with this program yet: a line says what to begin with.
    pub first_run: bool,
    /// By the laptop's steady clock, as of the last event. Every time in here is by it, unless it says otherwise.
    pub now: UnixMillis,
    /// How far the clock on the laptop's wall is ahead of that, in milliseconds.
    pub wall_ahead: i64,
    /// The nodes by name.
    pub nodes: BTreeMap<NodeName, NodeState>,
    /// Whether they are all.
    pub listing: Listing,
    /// What fills the screen.
    pub screen: Screen,
    /// The view of the node under the cursor.
    pub view: View,
    /// What lies over the screen.
    pub overlay: Option<Overlay>,
    /// The list's filter and its text.
    pub filter: (String, Filter),
    /// The list's order; by name when there is none.
    pub order: Option<Order>,
    /// What of the screens is shown.
    pub layout: Layout,
    /// Where the user has been.
    trail: Trail,
    /// Commands that were typed, oldest first.
    typed: Vec<String>,
    /// The kubeconfig's contexts, once they were read.
    pub contexts: Vec<String>,
    /// Nodes whose captures are followed in the viewer as soon as they run.
    to_follow: BTreeSet<NodeName>,
    /// Marked nodes.
    pub marks: BTreeSet<NodeName>,
    /// Whether all nodes are meant, also those that join.
    pub joining: Joining,
    /// Where a range of marks begins.
    mark_anchor: Option<NodeName>,
    /// The node under the cursor, by name, so that it stays when rows move.
    pub cursor: Option<NodeName>,
    /// First row or line shown of the view below the tabs.
    pub scroll: usize,
    /// The selected file in the files view, by name.
    pub file_cursor: Cursor<String>,
    /// The screen stands still for reading.
    pub paused: bool,
    /// What it shows meanwhile.
    still: Option<Box<App>>,
    /// A key was pressed.
    touched: bool,
    /// What is under way beside the agents.
    work: Work,
    /// What was cut when the program ended.
    pub cut: Vec<String>,
    /// Notices, oldest first.
    pub notices: VecDeque<(UnixMillis, Notice)>,
    /// The capture form's last contents.
    pub form: CaptureForm,
    /// Where captures go beside this laptop.
    pub storage: Option<StorageInfo>,
    /// Options that say how that place is reached, for commands that are printed.
    pub storage_options: Vec<String>,
    /// Where on this machine capture files stay when they are not fetched; `None` where agents keep them.
    pub ring_folder: Option<PathBuf>,
    /// The Files screen.
    pub files: Files,
    /// The Events screen.
    pub events: Events,
    /// The Ports screen, and what is expected and left out.
    pub ports: Ports,
    /// Where reports go, when they go to CloudWatch Logs.
    pub reports: Option<Reports>,
    /// What the ring on a node may take, where the user has said it.
    pub ring_bytes: Option<u64>,
    /// How much a freeze saves.
    pub freeze: Freeze,
    /// Captured files are not to be fetched at the end: they went another way.
    pub keep_files: bool,
    /// Files come here as soon as they are closed, where no sink takes them.
    pub homing: bool,
    /// The user has said in this session that payloads may be captured.
    pub full_content: bool,
    /// The session's report is written at its end.
    pub report_at_end: bool,
    /// The receipt's objects, once the exit is through.
    pub ended: Option<Exit>,
}

impl App {
    /// Nothing known yet.
    pub fn new(place: Place, session: SessionId, budget: Duration) -> Self {
        Self {
            place,
            session: Session {
                id: session,
                budget,
                lease: LEASE,
                began: None,
                ends: None,
                reminded: None,
                called: None,
            },
            namespace: None,
            permission: Permission::Free,
            next: None,
            first_run: false,
            now: 0,
            wall_ahead: 0,
            nodes: BTreeMap::new(),
            listing: Listing::Loading,
            screen: Screen::Nodes,
            view: View::Ports,
            overlay: None,
            filter: (String::new(), Filter::All),
            order: None,
            layout: Layout::default(),
            trail: Trail::default(),
            typed: Vec::new(),
            contexts: Vec::new(),
            to_follow: BTreeSet::new(),
            marks: BTreeSet::new(),
            joining: Joining::default(),
            mark_anchor: None,
            cursor: None,
            scroll: 0,
            file_cursor: Cursor::default(),
            paused: false,
            still: None,
            touched: false,
            work: Work::default(),
            cut: Vec::new(),
            notices: VecDeque::new(),
            form: CaptureForm::default(),
            storage: None,
            storage_options: Vec::new(),
            ring_folder: None,
            files: Files::default(),
            events: Events::default(),
            ports: Ports::default(),
            reports: None,
            ring_bytes: None,
            freeze: Freeze::default(),
            full_content: false,
            keep_files: false,
            homing: false,
            report_at_end: false,
            ended: None,
        }
    }

    /// Which keys are in force.
    pub fn scope(&self) -> Scope {
        if let Some(still) = &self.still {
            return still.scope();
        }
        match (&self.overlay, &self.screen) {
            (Some(Overlay::FilterInput { .. } | Overlay::Form(_) | Overlay::Typed(_) | Overlay::Command { .. }), _) => {
                Scope::Text
            }
            (Some(Overlay::Confirm(_) | Overlay::Sessions(_) | Overlay::Contexts(_) | Overlay::Exit(_)), _) => {
                Scope::Dialog
            }
            (Some(Overlay::Help | Overlay::Notices | Overlay::History(_)), _) => Scope::Reading,
            (None, _) => self.screen_scope(),
        }
    }

    /// Which keys are in force where nothing lies over the screen.
    pub fn screen_scope(&self) -> Scope {
        match self.screen {
            Screen::Nodes => Scope::List,
            Screen::Node(_) => Scope::Node,
            Screen::Files => Scope::Files,
            Screen::Ports => Scope::Ports,
            Screen::Events => Scope::Events,
        }
    }

    /// What the clock on the wall shows at a time, for people and for what others keep.
    pub fn wall(&self, at: UnixMillis) -> UnixMillis {
        at.saturating_add_signed(self.wall_ahead)
    }

    /// The time at which the clock on the wall shows that.
    fn steady(&self, wall: UnixMillis) -> UnixMillis {
        wall.saturating_add_signed(self.wall_ahead.saturating_neg())
    }

    /// The nodes that the list shows, in order.
    pub fn shown(&self) -> std::vec::IntoIter<&NodeState> {
        let faults = self.layout.faults_only;
        let shown = |state: &&NodeState| (!faults || state.is_faulty()) && self.filter.1.shows(state);
        let mut nodes: Vec<&NodeState> = self.nodes.values().filter(shown).collect();
        if let Some(order) = self.order {
            nodes.sort_by(|a, b| order.nodes(a, b));
        }
        nodes.into_iter()
    }

    /// The node that fills the screen, otherwise the one under the cursor.
    pub fn current(&self) -> Option<&NodeState> {
        match &self.screen {
            Screen::Node(name) => self.nodes.get(name),
            _ => self.nodes.get(self.cursor.as_ref()?),
        }
    }

    /// Nodes with an agent, and how many of these are live.
    pub fn agents(&self) -> (usize, usize) {
        let deployed = self.nodes.values().filter(|state| state.agent.is_deployed()).count();
        let live = self.nodes.values().filter(|state| state.agent == Agent::Live).count();
        (live, deployed)
    }

    /// What a key is about: on the list the marked nodes, or the one under the cursor; elsewhere the node that fills the
    /// screen, or the one that the row under the cursor is of.
    pub fn targets(&self) -> Vec<NodeName> {
        let of_row = match &self.screen {
            Screen::Nodes if self.marks.is_empty() => self.cursor.clone(),
            Screen::Nodes => return self.marks.iter().cloned().collect(),
            Screen::Node(name) => Some(name.clone()),
            Screen::Files => {
                self.file_under_cursor().filter(|row| row.key.session.is_none()).map(|row| NodeName(row.key.node))
            }
            Screen::Ports => self.port_under_cursor().and_then(|(node, _)| node),
            Screen::Events => self.event_under_cursor().map(|row| row.node.into()),
        };
        of_row.into_iter().filter(|name: &NodeName| self.nodes.contains_key(name)).collect()
    }

    /// Marked nodes that a key would act on and that are not on the screen.
    pub fn hidden_marks(&self) -> Vec<NodeName> {
        if self.marks.is_empty() || matches!(self.screen, Screen::Node(_)) {
            return Vec::new();
        }
        let shown: BTreeSet<&NodeName> = self.shown().map(|state| &state.node.name).collect();
        self.marks.iter().filter(|name| !shown.contains(name)).cloned().collect()
    }

    /// The row under the cursor of the screen.
    pub fn row_under_cursor(&self) -> Option<RowKey> {
        if let Some(still) = &self.still {
            return still.row_under_cursor();
        }
        match &self.screen {
            Screen::Nodes => self.cursor.clone().map(RowKey::Node),
            Screen::Node(_) if self.view == View::Files => Some(RowKey::NodeFile(self.node_file()?.name.clone())),
            Screen::Node(name) => Some(RowKey::Node(name.clone())),
            Screen::Files => self.file_under_cursor().map(|row| RowKey::File(row.key)),
            Screen::Ports => self.ports.row(self.ports.cursor),
            Screen::Events => self.event_under_cursor().map(|row| RowKey::Event(row.key())),
        }
    }

    /// The notice for the bottom line.
    pub fn latest_notice(&self) -> Option<&Notice> {
        let (at, notice) = self.notices.back()?;
        (self.now.saturating_sub(*at) < NOTICE_SHOWN).then_some(notice)
    }

    fn notify(&mut self, notice: Notice) {
        if self.notices.len() == MAX_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back((self.now, notice));
    }
}
