//! What is seen of a session: screens, what is chosen on them, and the dialogs over them.
//!
//! Owns one file a screen with its state, keys and rows, and one a dialog in `dialogs/`. A key becomes something that is
//! asked of the [`Session`], whose fields are read here and changed nowhere. No I/O, no clock, no drawing.

pub mod action;
mod aiming;
pub mod answers;
mod asking;
pub mod command;
pub mod connections;
pub mod cursor;
pub mod dialogs;
pub mod events;
mod export;
pub mod extent;
pub mod files;
pub mod filter_line;
mod hidden;
mod hints;
mod input;
mod mouse;
pub mod node;
pub mod nodes;
mod order;
mod pause;
pub mod pods;
mod port_filter;
pub mod ports;
pub mod signals;
pub mod tail;
mod text_field;
mod trail;
pub mod why;

use std::collections::BTreeSet;

use nodewatch_protocol::UnixMillis;

pub use action::{Action, Edit, Input, Pointed};
pub use dialogs::{Confirm, Layer};
pub use export::{Table, TableForm};
pub use input::update;
pub use order::{Column, Order};
pub use port_filter::PortFilter;

use self::{
    answers::Answers, command::Commands, connections::Connections, cursor::RowKey, dialogs::form::CaptureForm,
    events::Events, files::Files, node::rows::Tabs, nodes::List, pods::Pods, ports::Ports, signals::Signals,
    tail::Tail, trail::Trail,
};
use crate::{
    model::{NodeName, Notice},
    session::{Effect, Happened, Permission, Session, State, Terms, node::NodeState},
};

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
    Signals,
    Connections,
}

impl View {
    /// In the order of the tabs.
    pub const ALL: [Self; 7] =
        [Self::Ports, Self::Capture, Self::Flows, Self::Files, Self::Events, Self::Signals, Self::Connections];

    /// The tab's title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ports => "Ports",
            Self::Capture => "Capture",
            Self::Flows => "Flows",
            Self::Files => "Files",
            Self::Events => "Events",
            Self::Signals => "Signals",
            Self::Connections => "Connections",
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
    /// A node's last packets.
    Tail,
    /// Pods.
    Pods,
    /// What the kernels of all nodes count.
    Signals,
    /// What is seen between pairs of ends.
    Connections,
    /// Why connections fail.
    Answers,
}

impl Screen {
    /// Which keys are in force where nothing lies over it.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Nodes => Scope::List,
            Self::Node(_) => Scope::Node,
            Self::Files => Scope::Files,
            Self::Ports => Scope::Ports,
            // The same keys.
            Self::Events | Self::Tail => Scope::Events,
            Self::Pods => Scope::Pods,
            Self::Signals => Scope::Signals,
            Self::Connections => Scope::Connections,
            Self::Answers => Scope::Answers,
        }
    }
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
    /// Pods.
    Pods,
    /// What the kernels of all nodes count.
    Signals,
    /// What is seen between pairs of ends.
    Connections,
    /// Why connections fail.
    Answers,
    /// A text field or a form.
    Text,
    /// A question or the guided exit.
    Dialog,
    /// Help and notices.
    Reading,
}

impl Scope {
    /// Every scope.
    pub const ALL: &[Self] = &[
        Self::List,
        Self::Node,
        Self::Files,
        Self::Ports,
        Self::Events,
        Self::Pods,
        Self::Signals,
        Self::Connections,
        Self::Answers,
        Self::Text,
        Self::Dialog,
        Self::Reading,
    ];

    /// Its name, for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::List => "nodes",
            Self::Node => "node",
            Self::Files => "files",
            Self::Ports => "ports",
            Self::Events => "events",
            Self::Pods => "pods",
            Self::Signals => "signals",
            Self::Connections => "connections",
            Self::Answers => "answers",
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

/// What the user has said once, for the whole session.
#[derive(Debug, Clone)]
pub struct Choices {
    /// Payloads may be captured.
    pub full_content: bool,
    /// The default image is tried, though it is published nowhere.
    pub default_image: bool,
    /// The session's report is written at its end.
    pub report_at_end: bool,
}

impl Default for Choices {
    /// Whoever does not want the report says so: nobody writes it afterwards.
    fn default() -> Self {
        Self { full_content: false, default_image: false, report_at_end: true }
    }
}

/// A session and what is seen of it.
#[derive(Debug, Clone)]
pub struct App {
    /// What is true.
    pub session: Session,
    /// What fills the screen.
    pub screen: Screen,
    /// The view of the node under the cursor.
    pub view: View,
    /// What lies over the screen, the topmost last: that one takes the keys.
    pub layers: Vec<Layer>,
    /// First line shown of a dialog.
    pub scroll: usize,
    /// What of the screens is shown.
    pub layout: Layout,
    /// The list of nodes.
    pub list: List,
    /// What is chosen in a node's views.
    pub tabs: Tabs,
    /// The Files screen.
    pub files: Files,
    /// The Ports screen.
    pub ports: Ports,
    /// The Events screen.
    pub events: Events,
    /// The Tail screen.
    pub tail: Tail,
    /// The Pods screen.
    pub pods: Pods,
    /// The Signals screen.
    pub signals: Signals,
    /// The Connections screen.
    pub connections: Connections,
    /// The Answers screen.
    pub answers: Answers,
    /// Where the user has been, and what was begun there.
    past: Past,
    /// The capture form's last contents.
    pub form: CaptureForm,
    /// What the user has said once, for the whole session.
    pub choices: Choices,
    /// Whether the screen stands still.
    hold: Hold,
}

/// Where the user has been, and what was begun there.
#[derive(Debug, Clone, Default)]
struct Past {
    /// Screens.
    trail: Trail,
    /// What the command line remembers.
    commands: Commands,
    /// Nodes whose captures are to be followed in the viewer, once what was asked about them is answered.
    to_follow: BTreeSet<NodeName>,
}

/// Whether the screen stands still.
#[derive(Debug, Clone, Default)]
struct Hold {
    /// This is a picture that stands still.
    paused: bool,
    /// The picture that stands still for reading.
    still: Option<Box<App>>,
    /// A key was pressed.
    touched: bool,
}

impl State for App {
    type Input = Input;

    fn begin(terms: Terms) -> Self {
        Self::new(terms)
    }

    fn take_in(&mut self, happened: Happened<Input>, now: UnixMillis) -> Vec<Effect> {
        update(self, happened, now)
    }

    fn session(&self) -> &Session {
        &self.session
    }
}

impl App {
    /// Nothing known yet.
    pub fn new(terms: Terms) -> Self {
        Self {
            session: Session::new(terms),
            screen: Screen::Nodes,
            view: View::Ports,
            layers: Vec::new(),
            scroll: 0,
            layout: Layout::default(),
            list: List::default(),
            tabs: Tabs::default(),
            files: Files::default(),
            ports: Ports::default(),
            events: Events::default(),
            tail: Tail::default(),
            pods: Pods::default(),
            signals: Signals::default(),
            connections: Connections::default(),
            answers: Answers::default(),
            past: Past::default(),
            form: CaptureForm::default(),
            choices: Choices::default(),
            hold: Hold::default(),
        }
    }

    /// What lies on top.
    pub fn top(&self) -> Option<&Layer> {
        self.layers.last()
    }

    /// Over the screen there is this, and nothing else.
    fn open(&mut self, layer: Layer) {
        self.layers.clear();
        self.layers.push(layer);
    }

    /// The topmost is gone.
    fn close(&mut self) {
        self.layers.pop();
    }

    /// Whether the screen stands still.
    pub fn is_paused(&self) -> bool {
        self.hold.paused || self.hold.still.is_some()
    }

    /// Nothing was deployed with this program yet: a line says what to begin with.
    pub fn is_first_run(&self) -> bool {
        let may = self.session.permission != Permission::ReadOnly;
        may && self.session.terms.first_run && self.session.life.began.is_none()
    }

    /// Which keys are in force.
    pub fn scope(&self) -> Scope {
        match (&self.hold.still, self.top()) {
            (Some(still), _) => still.scope(),
            (None, Some(layer)) => layer.scope(),
            (None, None) => self.screen.scope(),
        }
    }

    /// The node that fills the screen, otherwise the one under the cursor.
    pub fn current(&self) -> Option<&NodeState> {
        match &self.screen {
            Screen::Node(name) => self.session.nodes.get(name),
            _ => self.session.nodes.get(self.list.cursor.as_ref()?),
        }
    }

    /// What a key is about: on the list the marked nodes, or the one under the cursor; elsewhere the node that fills the
    /// screen, or the one that the row under the cursor is of.
    pub fn targets(&self) -> Vec<NodeName> {
        let of_row = match &self.screen {
            Screen::Nodes if self.session.marks.is_empty() => self.list.cursor.clone(),
            Screen::Nodes => return self.session.marks.iter().cloned().collect(),
            Screen::Node(name) => Some(name.clone()),
            Screen::Files => {
                self.file_under_cursor().filter(|row| row.key.session.is_none()).map(|row| NodeName(row.key.node))
            }
            Screen::Ports => self.port_under_cursor().and_then(|(node, _)| node),
            Screen::Events => self.event_under_cursor().map(|row| row.node.into()),
            Screen::Tail => self.tail.node.clone(),
            Screen::Pods => self.pod_under_cursor().map(|row| row.pod.node.clone()),
            // A row is of all nodes.
            Screen::Signals => None,
            Screen::Connections => self.connections.row().map(|row| row.node.clone()),
            Screen::Answers => self.answer_node(),
        };
        of_row.into_iter().filter(|name: &NodeName| self.session.nodes.contains_key(name)).collect()
    }

    /// The row under the cursor of the screen.
    pub fn row_under_cursor(&self) -> Option<RowKey> {
        if let Some(still) = &self.hold.still {
            return still.row_under_cursor();
        }
        match &self.screen {
            Screen::Nodes => self.list.cursor.clone().map(RowKey::Node),
            Screen::Node(name) => {
                Some(self.node_row().map_or_else(|| RowKey::Node(name.clone()), |row| RowKey::NodeRow(row.id())))
            }
            Screen::Files => self.file_under_cursor().map(|row| RowKey::File(row.key)),
            Screen::Ports => self.ports.row(self.ports.cursor),
            Screen::Events => self.event_under_cursor().map(|row| RowKey::Event(row.key())),
            Screen::Tail => None,
            Screen::Pods => self.pod_under_cursor().map(|row| RowKey::Pod(row.pod.name.clone())),
            Screen::Signals => {
                self.signals.row(self.signals.cursor).map(|row| RowKey::Signal(row.info().name.to_owned()))
            }
            Screen::Connections => {
                self.connections.row().map(|row| RowKey::Connection(row.node.clone(), row.key.clone()))
            }
            Screen::Answers => self.answer_row().map(|row| RowKey::Answer(row.key())),
        }
    }

    /// The notice for the bottom line.
    pub fn latest_notice(&self) -> Option<&Notice> {
        let (at, notice) = self.session.notices.back()?;
        (self.session.now.saturating_sub(*at) < NOTICE_SHOWN).then_some(notice)
    }
}
