//! The rows of a node's views: ports, flows, files, events, signals, pairs of ends.
//!
//! Owns which rows a view has, what of them its filter and order show, and which one the cursor is on. Ports are listed when
//! something has changed and not while drawing: there may be very many. Pure.

use std::cmp::Ordering;

use nodewatch_protocol::{Endpoint, Flow, MissingSource, Port, Transport, Tunnel};

use crate::{
    model::{ListedPort, NodeName},
    screens::{
        App, PortFilter, View, connections,
        cursor::{Cursor, RowId},
        order::{Column, Order},
        port_filter::{self, Sieve},
        signals::{fields_of, rank, standing},
    },
    session::{
        files::FileRow,
        filter::TextFilter,
        node::{
            FRESH, NodeEvent, NodeState, PortRow, SignalState,
            watch::{PairKey, PairState, Recent},
        },
    },
};

/// A row of a node's view.
#[derive(Debug, Clone)]
pub enum Row<'a> {
    /// A port that is open, or should be.
    Port(&'a ListedPort),
    /// A port that closed a moment ago.
    Closed(&'a PortRow),
    /// Packets between two ends.
    Flow(&'a Flow),
    /// A capture file.
    File(FileRow<'a>),
    /// Something that happened.
    Event(&'a NodeEvent),
    /// What the kernel counts.
    Signal(&'a SignalState),
    /// What it does not count.
    Missing(&'a MissingSource),
    /// What was seen between two ends, and in the last minute of it.
    Pair(&'a PairKey, &'a PairState, Recent),
}

impl Row<'_> {
    /// Which it is.
    pub fn id(&self) -> RowId {
        match self {
            Self::Port(listed) => RowId::Port(listed.port, listed.socket),
            Self::Closed(row) => RowId::Port(row.port, true),
            Self::Flow(flow) => RowId::Flow(flow.transport, flow.from, flow.to, flow.tunnel),
            Self::File(row) => RowId::File(row.key.name.clone()),
            Self::Event(event) => RowId::Event(event.at, event.text.clone()),
            Self::Signal(series) => RowId::Signal(series.info().name.to_owned(), series.item.clone()),
            Self::Missing(missing) => RowId::Signal(missing.source.clone(), missing.reason.clone()),
            Self::Pair(key, ..) => RowId::Pair((*key).clone()),
        }
    }

    fn is(&self, id: &RowId) -> bool {
        match (self, id) {
            (Self::Port(listed), RowId::Port(port, socket)) => listed.port == *port && listed.socket == *socket,
            (Self::Closed(row), RowId::Port(port, socket)) => row.port == *port && *socket,
            (Self::Flow(flow), RowId::Flow(transport, from, to, tunnel)) => {
                (flow.transport, flow.from, flow.to, flow.tunnel) == (*transport, *from, *to, *tunnel)
            }
            (Self::File(row), RowId::File(name)) => row.key.name == *name,
            (Self::Event(event), RowId::Event(at, text)) => event.at == *at && event.text == *text,
            (Self::Signal(series), RowId::Signal(name, item)) => series.info().name == name && series.item == *item,
            (Self::Pair(key, ..), RowId::Pair(known)) => *key == known,
            (Self::Missing(missing), RowId::Signal(name, item)) => missing.source == *name && missing.reason == *item,
            _ => false,
        }
    }
}

/// What is chosen in one of a node's views.
#[derive(Debug, Clone, Default)]
pub struct Tab {
    /// The filter's text.
    pub filter: String,
    /// The filter, but for ports, whose own is [`NodePorts`]' to have.
    text: TextFilter,
    /// The order of rows; as they come, when there is none.
    pub order: Option<Order>,
    /// The row under the cursor.
    cursor: Cursor<RowId>,
}

/// What is chosen in a node's views, the same for all nodes but for the cursors.
#[derive(Debug, Clone, Default)]
pub struct Tabs {
    tabs: [Tab; View::ALL.len()],
    ports: NodePorts,
}

/// A node's ports as they were listed last.
#[derive(Debug, Clone, Default)]
struct NodePorts {
    filter: PortFilter,
    /// The node, how often it had said something of its ports, and how often expectations had changed.
    made_of: Option<(NodeName, u64, u64)>,
    list: Vec<ListedPort>,
    /// Places in the list that the filter shows, in order.
    shown: Vec<usize>,
}

impl Tabs {
    /// Of this view.
    pub fn of(&self, view: View) -> &Tab {
        &self.tabs[view as usize]
    }

    fn of_mut(&mut self, view: View) -> &mut Tab {
        &mut self.tabs[view as usize]
    }

    /// On the first rows, as for another node.
    pub(in crate::screens) fn forget_rows(&mut self) {
        for tab in &mut self.tabs {
            tab.cursor = Cursor::default();
        }
    }

    /// The same choices over what there is now.
    pub(in crate::screens) fn look_like(&mut self, other: &Self) {
        self.tabs.clone_from(&other.tabs);
        self.ports.filter.clone_from(&other.ports.filter);
        self.ports.made_of = None;
    }
}

/// What a view's filter can name; ports have a language of their own, and what is no table has none.
pub(in crate::screens) fn fields(view: View) -> &'static [&'static str] {
    match view {
        View::Ports | View::Capture => &[],
        View::Flows => &["from", "to", "proto", "tunnel"],
        View::Files => &["file", "place"],
        View::Events => &["text"],
        View::Signals => &["name", "item", "source", "unit"],
        View::Connections => connections::FIELDS,
    }
}

/// Columns that a view's rows can be sorted by.
pub(in crate::screens) fn columns(view: View) -> &'static [Column] {
    match view {
        View::Ports => &[Column::Ports, Column::Time, Column::Class],
        View::Flows => &[Column::Name, Column::Packets, Column::Bytes],
        View::Files => &[Column::Name, Column::Packets, Column::Bytes, Column::Drops, Column::Time],
        View::Signals => &[Column::Name, Column::Packets],
        View::Connections => connections::COLUMNS,
        View::Capture | View::Events => &[],
    }
}

impl App {
    /// What the filter of the view that is in front can name.
    pub(in crate::screens) fn tab_filter_fields(&self) -> Vec<&'static str> {
        match self.view {
            View::Ports => port_filter::field_names().collect(),
            view => fields(view).to_vec(),
        }
    }

    /// The rows of a node's view that is in front, in order.
    pub fn node_rows<'a>(&'a self, state: &'a NodeState) -> Vec<Row<'a>> {
        let tab = self.tabs.of(self.view);
        match self.view {
            View::Ports => self.port_rows(state),
            View::Capture => Vec::new(),
            View::Flows => flow_rows(state, tab),
            View::Files => self.file_rows_of(state, tab),
            View::Events => {
                let events = state.log.events.iter().rev();
                events.filter(|event| tab.text.shows(&[("text", &event.text)])).map(Row::Event).collect()
            }
            View::Signals => self.signal_rows(state, tab),
            View::Connections => self.pair_rows(state, tab),
        }
    }

    fn port_rows<'a>(&'a self, state: &'a NodeState) -> Vec<Row<'a>> {
        let ports = &self.tabs.ports;
        let listed_is_his = ports.made_of.as_ref().is_some_and(|(name, ..)| *name == state.node.name);
        if !listed_is_his {
            return Vec::new();
        }
        let now = self.session.now;
        let listed = ports.shown.iter().filter_map(|&at| ports.list.get(at));
        let client = |listed: &&ListedPort| listed.socket && self.is_client(state, &listed.port);
        let mut rows: Vec<Row<'a>> = listed.filter(|listed| !client(listed)).map(Row::Port).collect();
        let plain = matches!(ports.filter, PortFilter::All);
        let closed = state.ports.rows.values().filter(|row| {
            let fresh = row.closed.is_some_and(|at| self.session.now.saturating_sub(at) < FRESH);
            fresh
                && !row.is_client(now)
                && (plain || ports.filter.shows_port(&row.port))
                && !self.session.leaves_out(&row.port)
        });
        let closed: Vec<Row<'a>> = closed.map(Row::Closed).collect();
        if !closed.is_empty() {
            // What has just closed stands first: it is what somebody looks for.
            rows.splice(0..0, closed);
        }
        rows
    }

    /// Whether a port of a node is held by a client's socket, as far as can be told by now.
    pub(in crate::screens) fn is_client(&self, state: &NodeState, port: &Port) -> bool {
        state.ports.rows.get(port).is_some_and(|row| row.is_client(self.session.now))
    }

    /// How many ports of a node are not listed because clients hold them.
    pub fn clients(&self, state: &NodeState) -> usize {
        let open = state.ports.rows.values().filter(|row| row.closed.is_none());
        open.filter(|row| row.is_client(self.session.now)).count()
    }

    fn file_rows_of<'a>(&'a self, state: &'a NodeState, tab: &Tab) -> Vec<Row<'a>> {
        let row = |file| FileRow::on_node(state, file);
        let mut rows: Vec<FileRow<'a>> = state.files.iter().map(row).collect();
        rows.retain(|row| {
            let fields = [("file", row.key.name.as_str()), ("place", row.place().word())];
            (!self.layout.faults_only || row.is_fault()) && tab.text.shows(&fields)
        });
        if let Some(order) = tab.order {
            rows.sort_by(|a, b| order.files(a, b));
        }
        rows.into_iter().map(Row::File).collect()
    }

    fn signal_rows<'a>(&self, state: &'a NodeState, tab: &Tab) -> Vec<Row<'a>> {
        let (now, faults_only) = (self.session.now, self.layout.faults_only);
        let shown = state.seen.signals.series.values().filter_map(|series| {
            let info = series.info();
            let [name, source, unit] = fields_of(info);
            let own = standing(state, series, now);
            let shown = tab.text.shows(&[name, ("item", series.item.as_str()), source, unit]);
            (shown && (!faults_only || own.out)).then(|| (rank(info, &own), own.amount, series))
        });
        let mut rows: Vec<_> = shown.collect();
        rows.sort_by(|(a_rank, a_amount, a), (b_rank, b_amount, b)| {
            let by_rank = || (a_rank, a.signal, &a.item).cmp(&(b_rank, b.signal, &b.item));
            match tab.order {
                None => by_rank(),
                Some(order) => {
                    let ordering = match order.column {
                        Column::Packets => a_amount.cmp(b_amount),
                        _ => a.info().name.cmp(b.info().name),
                    };
                    order.directed(ordering).then_with(by_rank)
                }
            }
        });
        let missing = state.seen.signals.missing.iter().filter(|missing| {
            !faults_only && tab.text.shows(&[("name", missing.source.as_str()), ("source", missing.source.as_str())])
        });
        rows.into_iter().map(|(.., series)| Row::Signal(series)).chain(missing.map(Row::Missing)).collect()
    }

    fn pair_rows<'a>(&self, state: &'a NodeState, tab: &Tab) -> Vec<Row<'a>> {
        let (now, faults_only) = (self.session.now, self.layout.faults_only);
        let name_of = |address| self.connections.name_of(address).map(str::to_owned);
        let shown = state.seen.watch.pairs().filter(|(key, pair)| {
            let fails = pair.all.failed > 0;
            (!faults_only || fails) && connections::shows(&tab.text, &state.node.name, (key, pair), name_of)
        });
        let mut rows: Vec<connections::Ranked<'_>> = shown.map(|(key, pair)| (key, pair, pair.recent(now))).collect();
        rows.sort_unstable_by(|a, b| connections::compare(tab.order, a, b));
        rows.into_iter().map(|(key, pair, recent)| Row::Pair(key, pair, recent)).collect()
    }

    /// Where the cursor is among the rows that are shown.
    pub fn node_row_place(&self, rows: &[Row<'_>]) -> usize {
        self.tabs.of(self.view).cursor.place(rows, Row::is)
    }

    /// The row under the cursor of the node that fills the screen.
    pub(in crate::screens) fn node_row(&self) -> Option<Row<'_>> {
        let mut rows = self.node_rows(self.current()?);
        let at = self.node_row_place(&rows);
        (at < rows.len()).then(|| rows.swap_remove(at))
    }

    pub(super) fn move_in_node_rows(&mut self, to: impl Fn(usize) -> usize) {
        let Some(state) = self.current() else { return };
        let rows = self.node_rows(state);
        let at = to(self.node_row_place(&rows)).min(rows.len().saturating_sub(1));
        let id = rows.get(at).map(Row::id);
        // On the newest event it stays on the newest.
        let newest = self.view == View::Events && at == 0;
        let view = self.view;
        self.tabs.of_mut(view).cursor.put(at, id.filter(|_| !newest));
    }

    /// Puts the cursor on a row, where it is still there.
    pub(in crate::screens) fn put_on_node_row(&mut self, id: &RowId) {
        let at = self.current().and_then(|state| self.node_rows(state).iter().position(|row| row.is(id)));
        if let Some(at) = at {
            let view = self.view;
            self.tabs.of_mut(view).cursor.put(at, Some(id.clone()));
        }
    }

    /// The next row takes the place of one that has gone.
    pub(in crate::screens) fn settle_node_rows(&mut self) {
        let view = self.view;
        let mut cursor = self.tabs.of(view).cursor.clone();
        if let Some(state) = self.current() {
            cursor.settle(&self.node_rows(state), Row::is, Row::id);
        }
        self.tabs.of_mut(view).cursor = cursor;
    }

    /// Filters the view in front; the error names what is wrong, and the filter before it stays.
    pub(in crate::screens) fn set_tab_filter(&mut self, text: &str) -> Result<(), String> {
        let view = self.view;
        match view {
            View::Ports => {
                self.tabs.ports.filter = PortFilter::parse(text)?;
                self.sift_node_ports();
            }
            _ => self.tabs.of_mut(view).text = TextFilter::parse(text, fields(view))?,
        }
        let tab = self.tabs.of_mut(view);
        text.clone_into(&mut tab.filter);
        tab.cursor = Cursor::default();
        Ok(())
    }

    /// Sorts the view in front; false where it has no such column.
    pub(in crate::screens) fn sort_tab(&mut self, column: Column) -> bool {
        let view = self.view;
        if !columns(view).contains(&column) {
            return false;
        }
        let tab = self.tabs.of_mut(view);
        tab.order = Some(Order::toggled(tab.order, column));
        self.sift_node_ports();
        true
    }

    /// Lists the ports of the node that is looked at, where something of them has changed.
    pub(in crate::screens) fn refresh_node_ports(&mut self) {
        if self.view != View::Ports {
            return;
        }
        let session = &self.session;
        let name = match &self.screen {
            super::Screen::Node(name) => Some(name),
            super::Screen::Nodes => self.list.cursor.as_ref(),
            _ => None,
        };
        let Some(state) = name.and_then(|name| session.nodes.get(name)).filter(|state| state.ports.known) else {
            return;
        };
        let versions = (state.ports.version, session.ports.version);
        let ports = &mut self.tabs.ports;
        let same = ports
            .made_of
            .as_ref()
            .is_some_and(|(name, own, expected)| *name == state.node.name && (*own, *expected) == versions);
        if same {
            return;
        }
        ports.list = session.list_ports(state);
        ports.made_of = Some((state.node.name.clone(), versions.0, versions.1));
        self.sift_node_ports();
    }

    /// What of the listed ports the filter shows, in order.
    pub(in crate::screens) fn sift_node_ports(&mut self) {
        let (faults_only, order) = (self.layout.faults_only, self.tabs.of(View::Ports).order);
        let (session, ports) = (&self.session, &mut self.tabs.ports);
        let mut sieve = Sieve::new(&ports.filter);
        let node_matches = ports.made_of.as_ref().is_some_and(|(name, ..)| sieve.is_of_node(name));
        let list = &ports.list;
        ports.shown = (0..list.len())
            .filter(|&at| {
                let listed = &list[at];
                !session.leaves_out(&listed.port)
                    && (!faults_only || listed.is_fault())
                    && sieve.shows(node_matches, listed)
            })
            .collect();
        if let Some(order) = order {
            ports.shown.sort_by(|&a, &b| {
                let (a, b) = (&list[a], &list[b]);
                let ordering = match order.column {
                    Column::Time => a.since.cmp(&b.since),
                    Column::Class => b.class.cmp(&a.class),
                    _ => a.port.local.port().cmp(&b.port.local.port()),
                };
                order.directed(ordering).then_with(|| (a.port, a.socket).cmp(&(b.port, b.socket)))
            });
        }
    }
}

fn flow_rows<'a>(state: &'a NodeState, tab: &Tab) -> Vec<Row<'a>> {
    let flows = state.counts.latest.iter().flat_map(|statistics| &statistics.flows);
    let mut rows: Vec<&Flow> = flows
        .filter(|flow| {
            let (from, to) = (endpoint(&flow.from), endpoint(&flow.to));
            let proto = transport(flow.transport);
            let tunnel = flow.tunnel.map_or("", Tunnel::name);
            tab.text.shows(&[("from", &from), ("to", &to), ("proto", &proto), ("tunnel", tunnel)])
        })
        .collect();
    if let Some(order) = tab.order {
        rows.sort_by(|a, b| {
            let ordering: Ordering = match order.column {
                Column::Packets => a.share.packets.cmp(&b.share.packets),
                Column::Bytes => a.share.bytes.cmp(&b.share.bytes),
                _ => (a.from.address, a.from.port).cmp(&(b.from.address, b.from.port)),
            };
            order.directed(ordering)
        });
    }
    rows.into_iter().map(Row::Flow).collect()
}

/// An end of a flow, for people.
pub fn endpoint(endpoint: &Endpoint) -> String {
    match endpoint.port {
        0 => endpoint.address.to_string(),
        port => std::net::SocketAddr::new(endpoint.address, port).to_string(),
    }
}

/// What a flow is carried by, for people.
pub fn transport(transport: Transport) -> String {
    match transport {
        Transport::Tcp => "tcp".to_owned(),
        Transport::Udp => "udp".to_owned(),
        Transport::Ip(number) => format!("ip/{number}"),
    }
}
