//! The Ports screen: every port of every node, by node, by port and as a matrix; what is expected, left out and probed.
//!
//! Owns which rows there are and what a key does to one. Rows are made when something has changed and not while drawing:
//! there may be tens of thousands. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
};

use nodewatch_ports::PortSet;
use nodewatch_protocol::{Port, PortProtocol, PortScope, Probe, Probed, Request, UnixMillis};

use super::{
    App, Screen, View,
    action::{Action, Effect},
    cursor::RowKey,
    node::{Agent, NodeState},
    sieve::{PortFilter, Sieve},
    sort::{Column, Order},
};
use crate::model::{
    Expectation, Expectations, ListedPort, NodeExpectations, NodeName, Notice, Origin, Owner, PortClass, PortKey,
};

/// What should be there is asked again this often, in milliseconds, of so few nodes; of more it takes every pod's list.
const EXPECT_EVERY: u64 = 30_000;
const FEW_NODES: usize = 20;
const EXPECT_SELDOM: u64 = 300_000;
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

/// Which lists are not what nodes say any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Stale {
    /// All are old, or there is another set of nodes.
    #[default]
    All,
    /// Those of these nodes.
    Nodes(BTreeSet<NodeName>),
}

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// The node that tried.
    pub from: NodeName,
    /// When.
    pub at: UnixMillis,
    /// What came of it.
    pub probed: Probed,
}

/// The screen's state, and what it shares with reports.
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
    /// Agents look at the nodes' processes.
    pub processes: bool,
    /// Left out by flag or config.
    pub exclude: PortSet,
    /// Left out by key.
    pub excluded_by_key: PortSet,
    /// To be there, by flag or config.
    pub named: PortSet,
    /// To be there, by the API; `None` until it has said.
    pub expected: Option<Expectations>,
    /// When that was asked last.
    asked_at: UnixMillis,
    /// And about which nodes.
    asked_for: BTreeSet<NodeName>,
    /// The nodes that it was said of.
    expected_for: BTreeSet<NodeName>,
    /// Whether rows are what nodes say.
    stale: Stale,
    /// Every node with known ports, and its ports.
    pub lists: Vec<(NodeName, Vec<ListedPort>)>,
    /// Rows by node that the filter shows.
    pub rows: Vec<NodeRow>,
    /// Rows by port that the filter shows.
    pub groups: Vec<PortGroup>,
    /// How many ports are left out on purpose.
    pub excluded: usize,
    /// Probes under way, with the node that each is about.
    pub asked: HashMap<Probe, NodeName>,
    /// What came of probes.
    pub probes: BTreeMap<(NodeName, PortKey), ProbeResult>,
}

impl Ports {
    /// A node has told something of its ports.
    pub(super) fn changed(&mut self, node: &NodeName) {
        if let Stale::Nodes(nodes) = &mut self.stale {
            nodes.insert(node.clone());
        }
    }

    /// The rows are to be made anew.
    pub(super) fn look_again(&mut self) {
        self.stale = Stale::All;
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

    /// Whether it is known what should be there on a node.
    pub fn is_expected_known(&self, node: &NodeName) -> bool {
        self.expected_for.contains(node)
    }

    /// Whether a port is left out.
    pub fn leaves_out(&self, port: &Port) -> bool {
        self.exclude.contains(port) || self.excluded_by_key.contains(port)
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
        self.stale = Stale::All;
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
    /// A node's ports with what should be there, left-out ones included.
    pub fn list_ports(&self, state: &NodeState) -> Vec<ListedPort> {
        self.expectations_of(&state.node.name).list(state.open_ports().map(|row| {
            let owner = state.owners.as_ref().and_then(|owners| owners.get(&row.port)).map(|owner| Owner {
                pid: owner.pid,
                process: &owner.process,
                pod_uid: owner.pod_uid.as_deref(),
            });
            (row.port, row.since, owner)
        }))
    }

    pub(super) fn expectations_of(&self, node: &NodeName) -> NodeExpectations<'_> {
        NodeExpectations::of(node, self.ports.expected.as_ref(), &self.ports.named)
    }

    /// What should be there is asked while agents are live, gently.
    pub(super) fn expectations_due(&mut self) -> Vec<Effect> {
        let live: Vec<NodeName> = self
            .nodes
            .values()
            .filter(|state| state.agent == Agent::Live)
            .map(|state| state.node.name.clone())
            .collect();
        // Once for all that are coming up, and then not more often than a large cluster's API bears.
        let coming = self.nodes.values().any(|state| matches!(state.agent, Agent::Deploying(_) | Agent::Connecting));
        let new = !coming && live.iter().any(|name| !self.ports.asked_for.contains(name));
        let every = if live.len() > FEW_NODES { EXPECT_SELDOM } else { EXPECT_EVERY };
        let last = self.ports.asked_at.max(self.session.began.unwrap_or(0));
        let due = new || self.now.saturating_sub(last) >= every;
        if live.is_empty() || !due || self.is_leaving() {
            return Vec::new();
        }
        self.ports.asked_at = self.now;
        self.ports.asked_for = live.iter().cloned().collect();
        vec![Effect::Expect(live)]
    }

    /// The API has said what should be there.
    pub(super) fn expected(&mut self, nodes: Vec<NodeName>, mut expected: Expectations) {
        self.ports.expected_for = nodes.into_iter().collect();
        for state in self.nodes.values() {
            let Some(port) = state.node.kubelet_port else { continue };
            expected.list.push(Expectation {
                node: Some(state.node.name.0.clone()),
                key: PortKey { port, protocol: PortProtocol::Tcp },
                address: None,
                origin: Origin::Kubelet,
                ready: true,
            });
        }
        let before = self.ports.expected.as_ref().map(|expected| expected.gaps.clone()).unwrap_or_default();
        for gap in expected.gaps.iter().filter(|gap| !before.contains(gap)) {
            let next_step = "grant list on services, endpoints and pods: manifests/operator-rbac.yaml";
            self.notify(Notice::warning("not every expected port is known", gap.clone(), next_step));
        }
        if self.ports.expected.as_ref() != Some(&expected) {
            self.ports.stale = Stale::All;
        }
        self.ports.expected = Some(expected);
    }

    pub(super) fn open_ports(&mut self) {
        self.screen = Screen::Ports;
        self.ports.stale = Stale::All;
        self.ports.go_to_top();
    }

    /// Makes the rows anew when they are seen and old.
    pub(super) fn refresh_ports(&mut self) {
        let fresh = matches!(&self.ports.stale, Stale::Nodes(nodes) if nodes.is_empty());
        if self.screen != Screen::Ports || fresh {
            return;
        }
        let mut lists = std::mem::take(&mut self.ports.lists);
        let stale = std::mem::replace(&mut self.ports.stale, Stale::Nodes(BTreeSet::new()));
        let known: Vec<&NodeState> = self.nodes.values().filter(|state| state.scanned).collect();
        match stale {
            Stale::Nodes(nodes)
                if lists.iter().map(|(name, _)| name).eq(known.iter().map(|state| &state.node.name)) =>
            {
                for (state, (_, list)) in known.iter().zip(&mut lists) {
                    if nodes.contains(&state.node.name) {
                        *list = self.list_ports(state);
                    }
                }
            }
            Stale::Nodes(_) | Stale::All => {
                lists = known.iter().map(|state| (state.node.name.clone(), self.list_ports(state))).collect();
            }
        }
        self.ports.lists = lists;
        self.sift_ports();
    }

    /// What the filter lets through, in order.
    pub(super) fn sift_ports(&mut self) {
        let faults_only = self.layout.faults_only;
        let ports = &mut self.ports;
        let mut sieve = Sieve::new(&ports.filter.1);
        let mut rows = Vec::new();
        let mut excluded = 0;
        for (node, (name, list)) in ports.lists.iter().enumerate() {
            let node_matches = sieve.node(name);
            for (at, listed) in list.iter().enumerate() {
                if ports.exclude.contains(&listed.port) || ports.excluded_by_key.contains(&listed.port) {
                    excluded += 1;
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
        ports.excluded = excluded;
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
                ports.excluded_by_key = PortSet::default();
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
            self.cursor = Some(name.clone());
            self.screen = Screen::Node(name);
            self.view = View::Ports;
            self.scroll = 0;
        }
    }

    fn exclude_row(&mut self) {
        let Some((_, key)) = self.port_under_cursor() else { return };
        self.ports.excluded_by_key.add(key.protocol, key.port);
        let text = key.to_string();
        self.sift_ports();
        let told = format!("{text} is left out of lists and reports, and counted; {{include-again}} takes it back");
        self.notify(Notice::info(told));
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
        let why_not = match (port.protocol, port.local.ip()) {
            (PortProtocol::Tcp | PortProtocol::Udp, IpAddr::V6(address)) if address.is_unicast_link_local() => {
                "its address is known on its own link only"
            }
            (PortProtocol::Tcp | PortProtocol::Udp, _) => "",
            _ => "only TCP and UDP can be probed",
        };
        if !why_not.is_empty() {
            self.notify(Notice::warning(format!("{port} was not probed"), why_not, ""));
            return Vec::new();
        }
        let target = match self.nodes.get(&name).map(|state| address_of(&state.node.addresses, port)) {
            Some(Some(address)) => SocketAddr::new(address, port.local.port()),
            _ if port.scope() == PortScope::Loopback => {
                self.notify(Notice::warning(format!("{port} was not probed"), "only its own node can reach it", ""));
                return Vec::new();
            }
            _ => {
                self.notify(Notice::warning(format!("{name} was not probed"), "its address is not known", ""));
                return Vec::new();
            }
        };
        let others = || self.nodes.values().filter(|state| state.agent == Agent::Live && state.node.name != name);
        // The next one in order, so that probes of several nodes do not all come from the first.
        let from = others().find(|state| state.node.name > name).or_else(|| others().next());
        let Some(from) = from.map(|state| state.node.name.clone()) else {
            let next_step = "deploy to a second node";
            self.notify(Notice::warning("nothing was probed", "that takes an agent on another node", next_step));
            return Vec::new();
        };
        let probe = Probe { protocol: port.protocol, to: target };
        self.ports.asked.insert(probe, name);
        vec![Effect::Ask(from, Request::Probe(probe))]
    }

    /// What came of it.
    pub(super) fn probed(&mut self, from: &NodeName, probed: Probed) {
        let Some(name) = self.ports.asked.remove(&probed.probe) else { return };
        let text = format!("{} of {name} {}", probed.probe.to, probe_text(&probed));
        let now = self.now;
        if let Some(state) = self.nodes.get_mut(&name) {
            state.log(now, format!("probe from {from}: {text}"));
        }
        self.notify(Notice::info(format!("{text}, from {from}")));
        let key = PortKey { port: probed.probe.to.port(), protocol: probed.probe.protocol };
        self.ports.probes.insert((name, key), ProbeResult { from: from.clone(), at: now, probed });
    }
}

/// What came of a probe, for people.
pub fn probe_text(probed: &Probed) -> String {
    let word = probed.outcome.word();
    match &probed.outcome {
        nodewatch_protocol::ProbeOutcome::Failed { reason } => format!("{word}: {reason}"),
        nodewatch_protocol::ProbeOutcome::Silent => word.to_owned(),
        nodewatch_protocol::ProbeOutcome::Unreachable { by: Some(by), reason } => {
            format!("{word}: {by} says so ({reason})")
        }
        nodewatch_protocol::ProbeOutcome::Unreachable { by: None, reason } => {
            format!("{word}: the probing node says so ({reason})")
        }
        _ => format!("{word} in {:.1} ms", probed.micros as f64 / 1000.0),
    }
}

/// Where a node's port is reached from elsewhere.
fn address_of(addresses: &[IpAddr], port: Port) -> Option<IpAddr> {
    match port.scope() {
        PortScope::Loopback => None,
        PortScope::Node | PortScope::All if port.local.ip().is_unspecified() => {
            let same = addresses.iter().find(|address| address.is_ipv4() == port.local.is_ipv4());
            same.or(addresses.first().filter(|_| port.is_dual())).copied()
        }
        PortScope::Node | PortScope::All => Some(port.local.ip()),
    }
}
