//! The Connections screen: what agents that watch have seen between pairs of ends, those with failures first.
//!
//! Owns which rows there are, in which order, how addresses are called, and what a key does to a row. Rows are made once
//! a second and not while drawing. Pure.

use std::{cmp::Ordering, net::IpAddr};

use nodewatch_protocol::{Service, UnixMillis};
use rustc_hash::FxHashMap;

use super::{
    App, Layer, Screen, View,
    action::Action,
    cursor::Cursor,
    order::{Column, Order},
};
use crate::{
    model::NodeName,
    session::{
        Effect,
        filter::TextFilter,
        node::{
            NodeState,
            watch::{PairKey, PairState, Recent, Unseen, WINDOW},
        },
    },
};

/// What a filter can name.
pub(super) const FIELDS: &[&str] = &["from", "to", "node", "port", "service", "symptom", "interface", "role"];
/// Rows that a page key moves.
const PAGE: usize = 20;
/// Rows that are made at most: the first ones in order.
const MOST_ROWS: usize = 5_000;

/// A pair of ends as a node has seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRow {
    /// On which node.
    pub node: NodeName,
    /// Which.
    pub key: PairKey,
    /// In the last minute.
    pub recent: Recent,
}

/// One pair, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionView {
    /// On which node.
    pub node: NodeName,
    /// Which.
    pub key: PairKey,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looked {
    /// Nodes that are watched.
    pub watched: usize,
    /// Nodes that are not, and whose captures are analysed.
    pub captured: usize,
    /// Nodes that are to be watched as soon as they can.
    pub pending: usize,
    /// Nodes that have told something.
    pub told: usize,
    /// Pairs that are remembered.
    pub pairs: usize,
    /// Those of them on which something failed in the last minute.
    pub failing: usize,
    /// When the first of these nodes told something, by the laptop's clock.
    pub since: Option<UnixMillis>,
    /// Attempts since then.
    pub attempts: u64,
    /// Pairs that were told of and are forgotten, or that found no room in an agent's line.
    pub not_listed: u64,
    /// Packets that were dropped or left out, so that the seconds around them are not judged.
    pub lost: u64,
    /// What was left undecided, for whatever reason.
    pub not_judged: u64,
    /// Time of which not all was seen.
    pub unseen: Unseen,
}

/// The screen's own state.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    /// The row under the cursor; the first, as long as it was not moved.
    pub cursor: Cursor<(NodeName, PairKey)>,
    /// The filter and its text.
    pub filter: (String, TextFilter),
    /// The order of rows; failures first, then by rate, when there is none.
    pub order: Option<Order>,
    /// Those that the filter shows, in order.
    pub rows: Vec<ConnectionRow>,
    /// So many more there are.
    pub more: usize,
    /// What was looked at.
    pub looked: Looked,
    /// How addresses are called.
    names: FxHashMap<IpAddr, String>,
}

fn is(row: &ConnectionRow, key: &(NodeName, PairKey)) -> bool {
    row.node == key.0 && row.key == key.1
}

fn id(row: &ConnectionRow) -> (NodeName, PairKey) {
    (row.node.clone(), row.key.clone())
}

impl Connections {
    /// Where the user was on another one.
    pub(super) fn look_like(&mut self, other: &Self) {
        (self.cursor, self.filter, self.order) = (other.cursor.clone(), other.filter.clone(), other.order);
    }

    /// Where the cursor is among the rows.
    pub fn place(&self) -> usize {
        self.cursor.place(&self.rows, is)
    }

    /// The row under the cursor.
    pub fn row(&self) -> Option<&ConnectionRow> {
        self.rows.get(self.place())
    }

    fn put_cursor(&mut self, at: usize) {
        let at = at.min(self.rows.len().saturating_sub(1));
        // On the first row it stays on the first, whichever that is.
        let key = self.rows.get(at).filter(|_| at > 0).map(id);
        self.cursor.put(at, key);
    }

    /// Puts it on a row, where that is still there.
    pub(super) fn put_on(&mut self, node: &NodeName, key: &PairKey) {
        let at = self.rows.iter().position(|row| row.node == *node && row.key == *key);
        if let Some(at) = at {
            self.put_cursor(at);
        }
    }

    /// What an address is called, where that is known.
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        self.names.get(&address).map(String::as_str)
    }
}

/// Attempts a second, in hundredths, over as much of the last minute as the pair is known.
pub fn rate(state: &PairState, recent: &Recent, now: UnixMillis) -> u64 {
    let seconds = (now.saturating_sub(state.first).min(WINDOW) / 1000).max(1);
    u64::from(recent.attempts) * 100 / seconds
}

/// Whether a filter shows a pair.
pub(super) fn shows(
    filter: &TextFilter,
    node: &NodeName,
    (key, state): (&PairKey, &PairState),
    name_of: impl Fn(IpAddr) -> Option<String>,
) -> bool {
    match filter {
        TextFilter::All => return true,
        // A port is a number, and no part of one.
        TextFilter::Field("port", port) => return *port == key.port.to_string(),
        _ => {}
    }
    let (from, to, port) = (key.source.to_string(), key.destination.to_string(), key.port.to_string());
    let (from_name, to_name) = (name_of(key.source), name_of(key.destination));
    let mut fields: Vec<(&str, &str)> = vec![
        ("node", &node.0),
        ("from", &from),
        ("to", &to),
        ("port", &port),
        ("service", key.service.name()),
        ("interface", &key.interface),
        ("role", key.role.word()),
    ];
    fields.extend(from_name.as_deref().map(|name| ("from", name)));
    fields.extend(to_name.as_deref().map(|name| ("to", name)));
    fields.extend(state.symptoms.iter().map(|(symptom, _)| ("symptom", symptom.name())));
    filter.shows(&fields)
}

/// A pair in an order, and what that is by.
pub(super) type Ranked<'a> = (&'a PairKey, &'a PairState, Recent);

/// The order of two pairs: as chosen, and of equal ones failures first, then the most attempts, then the most packets.
pub(super) fn compare(order: Option<Order>, a: &Ranked<'_>, b: &Ranked<'_>) -> Ordering {
    let took = |it: &Ranked<'_>| it.1.answers.or(it.1.round_trips).map_or(0, |took| took.p99);
    let weight = |it: &Ranked<'_>| (it.2.failed, it.1.all.failed > 0, it.2.delayed, it.2.attempts, it.2.packets);
    let ordering = order.map_or(Ordering::Equal, |order| {
        let ordering = match order.column {
            Column::Ports => a.0.port.cmp(&b.0.port),
            Column::Packets => a.2.attempts.cmp(&b.2.attempts),
            Column::Drops => (a.2.failed, a.1.all.failed).cmp(&(b.2.failed, b.1.all.failed)),
            Column::Time => took(a).cmp(&took(b)),
            _ => a.0.source.cmp(&b.0.source),
        };
        order.directed(ordering)
    });
    ordering.then_with(|| weight(b).cmp(&weight(a))).then_with(|| a.0.cmp(b.0))
}

/// Columns that pairs can be sorted by.
pub(super) const COLUMNS: &[Column] = &[Column::Name, Column::Ports, Column::Packets, Column::Drops, Column::Time];

/// `DESTINATION:PORT/SERVICE`.
pub fn target(key: &PairKey) -> String {
    let (destination, service) = (key.destination, key.service.name());
    match key.service {
        Service::Neighbour | Service::Other => format!("{destination}/{service}"),
        _ => format!("{}/{service}", std::net::SocketAddr::new(destination, key.port)),
    }
}

/// What is copied of a pair.
pub(super) fn text_of(node: &NodeName, key: &PairKey, state: &PairState) -> String {
    let failed = if state.all.failed > 0 { format!(" failed {}", state.all.failed) } else { String::new() };
    format!("{node} {} {}{failed}", key.source, target(key))
}

impl App {
    pub(super) fn open_connections(&mut self) {
        // From a node with that node's pairs.
        if let Screen::Node(name) = &self.screen {
            // A node's name is no expression.
            let text = format!("node:{name}");
            self.connections.filter = (text.clone(), TextFilter::parse(&text, FIELDS).unwrap_or_default());
        }
        self.screen = Screen::Connections;
        self.connections.cursor = Cursor::default();
        self.refresh_connections();
    }

    /// Names and pairs of ends are seen, so that addresses should have names.
    pub(super) fn sees_connections(&self) -> bool {
        self.screen == Screen::Connections
            || (matches!(self.screen, Screen::Node(_) | Screen::Nodes) && self.view == View::Connections)
    }

    /// Some agent has told of pairs of ends.
    pub(super) fn connections_told(&self) -> bool {
        self.session.nodes.values().any(|state| state.seen.watch.heard().is_some())
    }

    /// How addresses are called: pods and services before nodes, and of pods not those on their node's own address.
    fn name_addresses(&mut self) {
        let mut names: FxHashMap<IpAddr, String> = FxHashMap::default();
        for state in self.session.nodes.values() {
            for address in &state.node.addresses {
                names.insert(*address, state.node.name.0.clone());
            }
        }
        if let Some(found) = &self.list.workloads.found {
            for (name, service) in &found.services {
                for address in &service.addresses {
                    names.insert(*address, format!("svc {name}"));
                }
            }
            for pod in found.pods.iter().filter(|pod| !pod.host_network) {
                for address in &pod.addresses {
                    names.insert(*address, pod.name.clone());
                }
            }
        }
        self.connections.names = names;
    }

    /// Makes the rows anew when they are seen.
    pub(super) fn refresh_connections(&mut self) {
        if !self.sees_connections() {
            return;
        }
        self.name_addresses();
        self.sift_connections();
    }

    /// What the filter lets through, in order.
    pub(super) fn sift_connections(&mut self) {
        if self.screen != Screen::Connections {
            return;
        }
        let now = self.session.now;
        let (faults_only, connections) = (self.layout.faults_only, &self.connections);
        let (filter, order) = (&connections.filter.1, connections.order);
        let why = self.answers.why.as_ref();
        let name_of = |address| connections.name_of(address).map(str::to_owned);
        let mut looked = Looked::default();
        let mut found: Vec<(&NodeName, Ranked<'_>)> = Vec::new();
        for (name, state) in &self.session.nodes {
            looked.add(state, now);
            for (key, pair) in state.seen.watch.pairs() {
                let recent = pair.recent(now);
                looked.failing += usize::from(recent.failed > 0);
                let fails = pair.all.failed > 0;
                let asked = why.is_none_or(|why| why.takes(key));
                if asked && (!faults_only || fails) && shows(filter, name, (key, pair), name_of) {
                    found.push((name, (key, pair, recent)));
                }
            }
        }
        let by = |a: &(&NodeName, Ranked<'_>), b: &(&NodeName, Ranked<'_>)| {
            compare(order, &a.1, &b.1).then_with(|| a.0.cmp(b.0))
        };
        let more = found.len().saturating_sub(MOST_ROWS);
        if more > 0 {
            found.select_nth_unstable_by(MOST_ROWS, by);
            found.truncate(MOST_ROWS);
        }
        found.sort_unstable_by(by);
        let row = |(node, (key, _, recent)): (&NodeName, Ranked<'_>)| ConnectionRow {
            node: node.clone(),
            key: key.clone(),
            recent,
        };
        let rows = found.into_iter().map(row).collect();
        let connections = &mut self.connections;
        (connections.rows, connections.more, connections.looked) = (rows, more, looked);
        connections.cursor.settle(&connections.rows, is, id);
    }

    /// A key on the Connections screen; `None` when it means what it means everywhere.
    pub(super) fn connections_key(&mut self, action: Action) -> Option<Vec<Effect>> {
        let at = self.connections.place();
        let connections = &mut self.connections;
        match action {
            Action::Up => connections.put_cursor(at.saturating_sub(1)),
            Action::Down => connections.put_cursor(at + 1),
            Action::PageUp => connections.put_cursor(at.saturating_sub(PAGE)),
            Action::PageDown => connections.put_cursor(at + PAGE),
            Action::Top => connections.put_cursor(0),
            Action::Bottom => connections.put_cursor(usize::MAX),
            Action::Sort(column) if COLUMNS.contains(&column) => self.sort_connections(column),
            Action::Faults => {
                self.layout.faults_only = !self.layout.faults_only;
                self.sift_connections();
            }
            Action::Back if self.answers.why.is_some() => self.end_why(),
            Action::Back if !connections.filter.0.is_empty() => {
                connections.filter = <(String, TextFilter)>::default();
                self.sift_connections();
            }
            Action::Back if self.layout.faults_only => {
                self.layout.faults_only = false;
                self.sift_connections();
            }
            Action::Back if connections.order.is_some() => {
                connections.order = None;
                self.sift_connections();
            }
            Action::Back => self.screen = Screen::Nodes,
            Action::Open => match self.connections.row().cloned() {
                Some(ConnectionRow { node, key, .. }) => self.open_connection(node, key),
                None => self.say_dead(Action::Open),
            },
            _ => return None,
        }
        Some(Vec::new())
    }

    /// Shows what is known of a pair.
    pub(super) fn open_connection(&mut self, node: NodeName, key: PairKey) {
        self.open_reading(Layer::Connection(ConnectionView { node, key }));
    }

    pub(super) fn sort_connections(&mut self, column: Column) {
        self.connections.order = Some(Order::toggled(self.connections.order, column));
        self.sift_connections();
    }

    /// What is copied of the row under the cursor.
    pub(super) fn connection_text(&self) -> Option<String> {
        let row = self.connections.row()?;
        Some(text_of(&row.node, &row.key, self.pair(&row.node, &row.key)?))
    }

    /// What is known of a pair of ends on a node.
    pub fn pair(&self, node: &NodeName, key: &PairKey) -> Option<&PairState> {
        self.session.nodes.get(node)?.seen.watch.pair(key)
    }
}

impl Looked {
    fn add(&mut self, state: &NodeState, now: UnixMillis) {
        let watch = &state.seen.watch;
        self.watched += usize::from(state.is_watching());
        self.captured += usize::from(!state.is_watching() && state.is_analysing(now));
        self.pending += usize::from(state.is_to_watch());
        let Some((first, _)) = watch.heard() else { return };
        self.told += 1;
        self.pairs += watch.pairs().count();
        self.since = Some(self.since.map_or(first, |since| since.min(first)));
        self.attempts = self.attempts.saturating_add(watch.all.attempts);
        self.not_listed = self.not_listed.saturating_add(watch.forgotten).saturating_add(watch.unlisted.pairs);
        self.lost = self.lost.saturating_add(watch.lost);
        self.unseen.add(&watch.unseen(now));
        let unjudged = &watch.not_judged;
        for count in [unjudged.first_seconds, unjudged.one_direction, unjudged.dropped, unjudged.undecided] {
            self.not_judged = self.not_judged.saturating_add(count);
        }
    }
}
