//! The Ports screen: every port of every node, by node, by port and as a matrix.
//!
//! Owns which rows there are and what a key does to one. Rows are made when something has changed and not while drawing:
//! there may be tens of thousands. Pure.

use std::collections::BTreeMap;

use nodewatch_ports::may_be_client;

use super::{
    App, Screen, View,
    action::Action,
    cursor::RowKey,
    order::{Column, Order},
    port_filter::{PortFilter, Sieve},
};
use crate::{
    model::{ListedPort, NodeName, Notice, PortClass, PortKey},
    session::{Effect, node::NodeState},
};

/// Rows that a page key moves.
const PAGE: usize = 20;
/// Columns that a key moves the matrix by.
const COLUMNS: usize = 4;

/// How the screen shows ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// A row a port of a node.
    #[default]
    ByNode,
    /// A row a port, with the nodes that have it.
    ByPort,
    /// A row a port, a column a node.
    Matrix,
}

impl Mode {
    /// In the order of Tab.
    pub const ALL: [Self; 3] = [Self::ByNode, Self::ByPort, Self::Matrix];

    /// The tab's title.
    pub fn title(self) -> &'static str {
        match self {
            Self::ByNode => "by node",
            Self::ByPort => "by port",
            Self::Matrix => "matrix",
        }
    }
}

/// A row of the screen by node: indices into [`Ports::lists`].
pub type NodeRow = (usize, usize);

/// A row of the other two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortGroup {
    /// The port.
    pub key: PortKey,
    /// Nodes that list it, as indices into [`Ports::lists`], with its class there.
    pub nodes: Vec<(usize, PortClass)>,
}

impl PortGroup {
    /// On how many nodes it is so.
    pub fn count(&self, class: PortClass) -> usize {
        self.nodes.iter().filter(|(_, found)| *found == class).count()
    }

    /// On how many nodes something may answer.
    pub fn open(&self) -> usize {
        self.nodes.iter().filter(|(_, class)| class.is_open()).count()
    }
}

/// What a list was made of: a node, and how often it had said something of its ports by then.
type Source = (NodeName, u64);

/// The screen's own state.
#[derive(Debug, Clone, Default)]
pub struct Ports {
    /// How ports are shown.
    pub mode: Mode,
    /// The place of the row under the cursor.
    pub cursor: usize,
    /// That row, so that the cursor goes with it; none as long as it was not moved.
    held: Option<RowKey>,
    /// The first node shown in the matrix.
    pub first_column: usize,
    /// The filter and its text.
    pub filter: (String, PortFilter),
    /// The order of rows; by node, or by port, when there is none.
    pub order: Option<Order>,
    /// What rows were made of; `None` when they are to be made anew.
    made_of: Option<(u64, Vec<Source>)>,
    /// Every node with known ports, and its ports.
    pub lists: Vec<(NodeName, Vec<ListedPort>)>,
    /// Rows by node that the filter shows.
    pub rows: Vec<NodeRow>,
    /// Rows by port that the filter shows.
    pub groups: Vec<PortGroup>,
    /// How many ports are left out on purpose.
    pub excluded: usize,
    /// How many are not listed because clients hold them.
    pub clients: usize,
}

impl Ports {
    /// The rows are to be made anew.
    pub(super) fn look_again(&mut self) {
        self.made_of = None;
    }

    fn sort(&mut self) {
        let Some(order) = self.order else { return };
        let lists = &self.lists;
        let listed = |row: &NodeRow| (&lists[row.0].0, &lists[row.0].1[row.1]);
        self.rows.sort_by(|a, b| {
            let ((a_node, a_port), (b_node, b_port)) = (listed(a), listed(b));
            let ordering = match order.column {
                Column::Ports => a_port.port.local.port().cmp(&b_port.port.local.port()),
                Column::Time => a_port.since.cmp(&b_port.since),
                Column::Class => b_port.class.cmp(&a_port.class),
                _ => a_node.cmp(b_node),
            };
            order.directed(ordering).then_with(|| (a.0, a.1).cmp(&(b.0, b.1)))
        });
        self.groups.sort_by(|a, b| {
            let worst = |group: &PortGroup| group.nodes.iter().map(|(_, class)| *class).max();
            let ordering = match order.column {
                Column::Class => worst(b).cmp(&worst(a)),
                // By number of nodes: a port's name is its number.
                Column::Name => a.open().cmp(&b.open()),
                _ => a.key.cmp(&b.key),
            };
            order.directed(ordering).then_with(|| a.key.cmp(&b.key))
        });
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        if self.mode == Mode::ByNode { self.rows.len() } else { self.groups.len() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row in that place.
    pub fn row(&self, at: usize) -> Option<RowKey> {
        if self.mode == Mode::ByNode {
            let (name, listed) = self.listed(*self.rows.get(at)?)?;
            return Some(RowKey::Port(name.clone(), listed.port, listed.socket));
        }
        Some(RowKey::Group(self.groups.get(at)?.key))
    }

    fn is_row(&self, at: usize, key: &RowKey) -> bool {
        match (key, self.mode) {
            (RowKey::Port(node, port, socket), Mode::ByNode) => {
                let listed = self.rows.get(at).and_then(|row| self.listed(*row));
                listed.is_some_and(|(name, it)| it.port == *port && it.socket == *socket && name == node)
            }
            (RowKey::Group(port), Mode::ByPort | Mode::Matrix) => {
                self.groups.get(at).is_some_and(|group| group.key == *port)
            }
            _ => false,
        }
    }

    /// Puts the cursor on a place, and from then on it is on the row there.
    pub(super) fn put_cursor(&mut self, at: usize) {
        self.cursor = at.min(self.len().saturating_sub(1));
        self.held = self.row(self.cursor);
    }

    /// Shows the same part of what there is now.
    pub(super) fn look_like(&mut self, other: &Self) {
        self.mode = other.mode;
        self.cursor = other.cursor;
        self.held.clone_from(&other.held);
        self.first_column = other.first_column;
        self.filter.clone_from(&other.filter);
        self.order = other.order;
        self.made_of = None;
    }

    /// On the first row, whichever that will be.
    pub(super) fn go_to_top(&mut self) {
        (self.cursor, self.held) = (0, None);
    }

    /// Puts it on a row, where that is still there.
    pub(super) fn put_on(&mut self, key: &RowKey) {
        if let Some(at) = (0..self.len()).find(|at| self.is_row(*at, key)) {
            self.put_cursor(at);
        }
    }

    /// The cursor goes with its row; the next one takes the place of one that has gone.
    fn settle(&mut self) {
        let Some(held) = self.held.take() else {
            self.cursor = self.cursor.min(self.len().saturating_sub(1));
            return;
        };
        let at = if self.is_row(self.cursor, &held) {
            self.cursor
        } else {
            (0..self.len()).find(|at| self.is_row(*at, &held)).unwrap_or(self.cursor)
        };
        self.put_cursor(at);
    }

    /// The node and port of a row by node.
    pub fn listed(&self, (node, at): NodeRow) -> Option<(&NodeName, &ListedPort)> {
        let (name, list) = self.lists.get(node)?;
        Some((name, list.get(at)?))
    }
}

impl App {
    pub(super) fn open_ports(&mut self) {
        self.screen = Screen::Ports;
        self.ports.look_again();
        self.ports.go_to_top();
    }

    /// Makes the rows anew when they are seen and old.
    pub(super) fn refresh_ports(&mut self) {
        if self.screen != Screen::Ports {
            return;
        }
        let session = &self.session;
        let known: Vec<&NodeState> = session.nodes.values().filter(|state| state.ports.known).collect();
        let sources = known.iter().map(|state| (state.node.name.clone(), state.ports.version));
        let made_of = (session.ports.version, sources.collect::<Vec<_>>());
        if self.ports.made_of.as_ref() == Some(&made_of) {
            return;
        }
        let before = self.ports.made_of.replace(made_of.clone()).filter(|(version, _)| *version == made_of.0);
        let versions = before.map(|(_, sources)| sources).unwrap_or_default();
        // Both are in the order of names.
        let mut before = versions.into_iter().zip(std::mem::take(&mut self.ports.lists)).peekable();
        let list = |state: &&NodeState| {
            let name = &state.node.name;
            while before.next_if(|((known, _), _)| known < name).is_some() {}
            let same = before.next_if(|((known, version), _)| known == name && *version == state.ports.version);
            same.map_or_else(|| (name.clone(), session.list_ports(state)), |(_, list)| list)
        };
        let lists = known.iter().map(list).collect();
        self.ports.lists = lists;
        self.sift_ports();
    }

    /// What the filter lets through, in order.
    pub(super) fn sift_ports(&mut self) {
        let faults_only = self.layout.faults_only;
        let (session, ports) = (&self.session, &mut self.ports);
        let mut sieve = Sieve::new(&ports.filter.1);
        let mut rows = Vec::new();
        let (mut excluded, mut clients) = (0, 0);
        for (node, (name, list)) in ports.lists.iter().enumerate() {
            let node_matches = sieve.node(name);
            // Few are on such a port, so few are looked up.
            let is_client = |listed: &ListedPort| {
                let row = || session.nodes.get(name)?.ports.rows.get(&listed.port);
                may_be_client(&listed.port) && listed.socket && row().is_some_and(|row| row.is_client(session.now))
            };
            for (at, listed) in list.iter().enumerate() {
                if session.leaves_out(&listed.port) {
                    excluded += 1;
                } else if is_client(listed) {
                    clients += 1;
                } else if (!faults_only || listed.is_fault()) && sieve.shows(node_matches, listed) {
                    rows.push((node, at));
                }
            }
        }
        let mut groups: BTreeMap<PortKey, Vec<(usize, PortClass)>> = BTreeMap::new();
        if ports.mode != Mode::ByNode {
            for &(node, at) in &rows {
                let listed = &ports.lists[node].1[at];
                let nodes = groups.entry(listed.port.into()).or_default();
                match nodes.last_mut() {
                    // Several sockets of one port on one node: what may answer counts.
                    Some((last, class)) if *last == node => *class = (*class).min(listed.class),
                    _ => nodes.push((node, listed.class)),
                }
            }
        }
        ports.groups = groups.into_iter().map(|(key, nodes)| PortGroup { key, nodes }).collect();
        ports.rows = rows;
        ports.sort();
        (ports.excluded, ports.clients) = (excluded, clients);
        ports.settle();
        ports.first_column = ports.first_column.min(ports.lists.len().saturating_sub(1));
    }

    /// A key on the Ports screen; `None` when it means what it means everywhere.
    pub(super) fn ports_key(&mut self, action: Action) -> Option<Vec<Effect>> {
        let ports = &mut self.ports;
        match action {
            Action::Up => ports.put_cursor(ports.cursor.saturating_sub(1)),
            Action::Down => ports.put_cursor(ports.cursor + 1),
            Action::PageUp => ports.put_cursor(ports.cursor.saturating_sub(PAGE)),
            Action::PageDown => ports.put_cursor(ports.cursor + PAGE),
            Action::Top => ports.put_cursor(0),
            Action::Bottom => ports.put_cursor(usize::MAX),
            Action::Sort(column) => {
                ports.order = Some(Order::toggled(ports.order, column));
                self.sift_ports();
            }
            Action::Faults => {
                self.layout.faults_only = !self.layout.faults_only;
                self.sift_ports();
            }
            Action::Left => ports.first_column = ports.first_column.saturating_sub(COLUMNS),
            Action::Right => {
                ports.first_column = (ports.first_column + COLUMNS).min(ports.lists.len().saturating_sub(1));
            }
            Action::NextView | Action::PreviousView => {
                let at = Mode::ALL.iter().position(|&mode| mode == ports.mode).unwrap_or(0);
                let by = if action == Action::NextView { 1 } else { Mode::ALL.len() - 1 };
                ports.mode = Mode::ALL[(at + by) % Mode::ALL.len()];
                ports.go_to_top();
                self.sift_ports();
            }
            Action::Back if !ports.filter.0.is_empty() => {
                ports.filter = (String::new(), PortFilter::All);
                self.sift_ports();
            }
            Action::Back if self.layout.faults_only => {
                self.layout.faults_only = false;
                self.sift_ports();
            }
            Action::Back => self.screen = Screen::Nodes,
            Action::Open => self.open_ports_node(),
            Action::Exclude => self.exclude_row(),
            Action::IncludeAgain => {
                self.session.include_again();
                self.sift_ports();
            }
            Action::Probe => return Some(self.probe_row()),
            Action::History => return Some(self.history_of_row()),
            _ => return None,
        }
        Some(Vec::new())
    }

    /// The port under the cursor, and its node where the row has one.
    pub(super) fn port_under_cursor(&self) -> Option<(Option<NodeName>, PortKey)> {
        let ports = &self.ports;
        if ports.mode == Mode::ByNode {
            let (name, listed) = ports.listed(*ports.rows.get(ports.cursor)?)?;
            return Some((Some(name.clone()), listed.port.into()));
        }
        Some((None, ports.groups.get(ports.cursor)?.key))
    }

    fn open_ports_node(&mut self) {
        if let Some((Some(name), _)) = self.port_under_cursor() {
            self.list.cursor = Some(name.clone());
            self.screen = Screen::Node(name);
            self.view = View::Ports;
            self.scroll = 0;
        }
    }

    fn exclude_row(&mut self) {
        let Some((_, key)) = self.port_under_cursor() else { return };
        self.leave_out(key);
        self.sift_ports();
    }

    /// Leaves a port out, and says how to undo that.
    pub(super) fn leave_out(&mut self, key: PortKey) {
        self.session.leave_out(key);
        let text = key.to_string();
        let mut notice = Notice::info(format!("excluded {text} from lists and reports; it is still counted"));
        "{include-again} undoes it".clone_into(&mut notice.next_step);
        self.session.notify(notice.naming_keys());
    }

    /// Tries the port from another node, so that open means reachable.
    fn probe_row(&mut self) -> Vec<Effect> {
        let row = match self.ports.mode {
            Mode::ByNode => self.ports.rows.get(self.ports.cursor).and_then(|row| self.ports.listed(*row)),
            // The first node that has it stands for all.
            Mode::ByPort | Mode::Matrix => self.ports.groups.get(self.ports.cursor).and_then(|group| {
                let (name, list) = self.ports.lists.get(group.nodes.first()?.0)?;
                Some((name, list.iter().find(|listed| PortKey::from(listed.port) == group.key)?))
            }),
        };
        let Some((name, listed)) = row else { return Vec::new() };
        let (name, port) = (name.clone(), listed.port);
        self.session.probe(name, port)
    }
}
