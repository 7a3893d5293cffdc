//! The Signals screen: what the kernels of all nodes count, what is out of the normal first.
//!
//! Owns which rows there are, in which order, and what a key does to one. Rows are made once a second and not while
//! drawing. Pure.

use nodewatch_protocol::UnixMillis;
use nodewatch_signals::{Normal, SIGNALS, Signal, SignalId};

use super::{
    App, Layer, Screen,
    action::Action,
    order::{Column, Order},
};
use crate::{
    model::NodeName,
    session::{
        Effect,
        filter::TextFilter,
        node::{NodeState, STEPS, SignalState},
    },
};

/// What a filter can name.
pub(super) const FIELDS: &[&str] = &["name", "source", "unit"];
/// Rows that a page key moves.
const PAGE: usize = 20;
/// Columns that a key moves nodes by.
const COLUMNS: usize = 4;

/// How a signal stands on one node, or on all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Of a counter, what it rose by in the last minute; of a gauge, the most that there is now.
    pub amount: u64,
    /// Out of the normal.
    pub out: bool,
    /// It has moved in the last two minutes.
    pub moved: bool,
}

/// A signal over all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalRow {
    /// Its place in the table.
    pub signal: SignalId,
    /// Of counters the sum over nodes, of gauges the largest.
    pub all: Standing,
    /// On so many nodes it is out of the normal.
    pub out: usize,
    /// The last two minutes.
    pub points: [u64; STEPS],
}

impl SignalRow {
    fn new(signal: SignalId) -> Self {
        Self { signal, all: Standing::default(), out: 0, points: [0; STEPS] }
    }

    fn add(&mut self, series: &SignalState, own: &Standing, now: UnixMillis) {
        let counter = series.info().is_counter();
        self.all = self.all.and(own, counter);
        if own.moved || !counter {
            for (sum, point) in self.points.iter_mut().zip(series.points(now)) {
                *sum = if counter { sum.saturating_add(point) } else { (*sum).max(point) };
            }
        }
    }

    /// What is known of it.
    pub fn info(&self) -> &'static Signal {
        &SIGNALS[usize::from(self.signal)]
    }
}

/// The screen's own state.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// The place of the row under the cursor.
    pub cursor: usize,
    /// That row, so that the cursor goes with it; none as long as it was not moved.
    held: Option<SignalId>,
    /// The first node shown.
    pub first_column: usize,
    /// The filter and its text.
    pub filter: (String, TextFilter),
    /// The order of rows; what is out of the normal first, then what has moved, when there is none.
    pub order: Option<Order>,
    /// Nodes whose signals are known.
    pub nodes: Vec<NodeName>,
    /// Every signal that some node has.
    all: Vec<SignalRow>,
    /// Those that the filter shows, in order.
    pub rows: Vec<SignalRow>,
}

/// One signal, with its values on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalView {
    /// Its place in the table.
    pub signal: SignalId,
}

/// What stands first: out of the normal, then what has moved, and of that what can be out of the normal.
pub(super) fn rank(signal: &Signal, standing: &Standing) -> u8 {
    match (standing.out, standing.moved, signal.normal) {
        (true, ..) => 0,
        (false, true, Normal::Informative) => 2,
        (false, true, _) => 1,
        (false, false, _) => 3,
    }
}

/// How each signal stands on a node, by its place in the table: interfaces and the like together.
pub fn standings(state: &NodeState, now: UnixMillis) -> Vec<Option<Standing>> {
    let mut all = vec![None; SIGNALS.len()];
    for series in state.seen.signals.series.values() {
        let own = standing(state, series, now);
        let Some(known) = all.get_mut(usize::from(series.signal)) else { continue };
        let sum = known.get_or_insert_with(Standing::default);
        *sum = sum.and(&own, series.info().is_counter());
    }
    all
}

/// How one series of a node stands.
pub fn standing(state: &NodeState, series: &SignalState, now: UnixMillis) -> Standing {
    let amount = if series.info().is_counter() { series.moved(now) } else { series.value };
    Standing { amount, out: state.seen.signals.is_out(series, now), moved: series.has_moved(now) }
}

impl Standing {
    fn and(self, other: &Self, counter: bool) -> Self {
        let amount = if counter { self.amount.saturating_add(other.amount) } else { self.amount.max(other.amount) };
        Self { amount, out: self.out || other.out, moved: self.moved || other.moved }
    }
}

impl Signals {
    /// The row in that place.
    pub fn row(&self, at: usize) -> Option<&SignalRow> {
        self.rows.get(at)
    }

    pub(super) fn put_cursor(&mut self, at: usize) {
        self.cursor = at.min(self.rows.len().saturating_sub(1));
        self.held = self.rows.get(self.cursor).map(|row| row.signal);
    }

    /// Puts it on the signal of that name, where that is still there.
    pub(super) fn put_on(&mut self, name: &str) {
        if let Some(at) = self.rows.iter().position(|row| row.info().name == name) {
            self.put_cursor(at);
        }
    }

    /// On the first row, whichever that will be.
    pub(super) fn go_to_top(&mut self) {
        (self.cursor, self.held) = (0, None);
    }

    /// Shows the same part of what there is now.
    pub(super) fn look_like(&mut self, other: &Self) {
        self.cursor = other.cursor;
        self.held = other.held;
        self.first_column = other.first_column;
        self.filter.clone_from(&other.filter);
        self.order = other.order;
    }

    fn sort(&mut self) {
        let order = self.order;
        self.rows.sort_by(|a, b| {
            let (one, two) = (a.info(), b.info());
            let by_rank = || rank(one, &a.all).cmp(&rank(two, &b.all)).then(a.signal.cmp(&b.signal));
            match order {
                None => by_rank(),
                Some(order) => {
                    let ordering = match order.column {
                        Column::Packets => a.all.amount.cmp(&b.all.amount),
                        _ => one.name.cmp(two.name),
                    };
                    order.directed(ordering).then_with(by_rank)
                }
            }
        });
    }

    /// The cursor goes with its row; the next one takes the place of one that has gone.
    fn settle(&mut self) {
        let at = self.held.and_then(|held| self.rows.iter().position(|row| row.signal == held));
        match at {
            Some(at) => self.cursor = at,
            None if self.held.is_some() => self.put_cursor(self.cursor),
            None => self.cursor = self.cursor.min(self.rows.len().saturating_sub(1)),
        }
    }
}

impl App {
    pub(super) fn open_signals(&mut self) {
        self.screen = Screen::Signals;
        self.signals.go_to_top();
        self.refresh_signals();
    }

    /// Makes the rows anew when they are seen.
    pub(super) fn refresh_signals(&mut self) {
        if self.screen != Screen::Signals {
            return;
        }
        let now = self.session.now;
        let mut rows: Vec<Option<SignalRow>> = vec![None; SIGNALS.len()];
        let mut nodes = Vec::new();
        for (name, state) in self.session.nodes.iter().filter(|(_, state)| state.seen.signals.is_known()) {
            // A node counts once, however many of its interfaces are out of the normal.
            let mut counted = vec![false; SIGNALS.len()];
            for series in state.seen.signals.series.values() {
                let at = usize::from(series.signal);
                let (Some(row), Some(counted)) = (rows.get_mut(at), counted.get_mut(at)) else { continue };
                let own = standing(state, series, now);
                let row = row.get_or_insert_with(|| SignalRow::new(series.signal));
                row.out += usize::from(own.out && !std::mem::replace(counted, own.out || *counted));
                row.add(series, &own, now);
            }
            nodes.push(name.clone());
        }
        self.signals.nodes = nodes;
        self.signals.all = rows.into_iter().flatten().collect();
        self.sift_signals();
    }

    /// What the filter lets through, in order.
    pub(super) fn sift_signals(&mut self) {
        let faults_only = self.layout.faults_only;
        let signals = &mut self.signals;
        let filter = &signals.filter.1;
        let shown = |row: &&SignalRow| (!faults_only || row.all.out) && filter.shows(&fields_of(row.info()));
        signals.rows = signals.all.iter().filter(shown).cloned().collect();
        signals.sort();
        signals.settle();
        signals.first_column = signals.first_column.min(signals.nodes.len().saturating_sub(1));
    }

    /// A key on the Signals screen; `None` when it means what it means everywhere.
    pub(super) fn signals_key(&mut self, action: Action) -> Option<Vec<Effect>> {
        let signals = &mut self.signals;
        match action {
            Action::Up => signals.put_cursor(signals.cursor.saturating_sub(1)),
            Action::Down => signals.put_cursor(signals.cursor + 1),
            Action::PageUp => signals.put_cursor(signals.cursor.saturating_sub(PAGE)),
            Action::PageDown => signals.put_cursor(signals.cursor + PAGE),
            Action::Top => signals.go_to_top(),
            Action::Bottom => signals.put_cursor(usize::MAX),
            Action::Left => signals.first_column = signals.first_column.saturating_sub(COLUMNS),
            Action::Right => {
                signals.first_column = (signals.first_column + COLUMNS).min(signals.nodes.len().saturating_sub(1));
            }
            Action::Sort(column @ (Column::Name | Column::Packets)) => self.sort_signals(column),
            Action::Faults => {
                self.layout.faults_only = !self.layout.faults_only;
                self.sift_signals();
            }
            Action::Back if !signals.filter.0.is_empty() => {
                signals.filter = <(String, TextFilter)>::default();
                self.sift_signals();
            }
            Action::Back if self.layout.faults_only => {
                self.layout.faults_only = false;
                self.sift_signals();
            }
            Action::Back if signals.order.is_some() => {
                signals.order = None;
                self.sift_signals();
            }
            Action::Back => self.screen = Screen::Nodes,
            Action::Open => match self.signals.row(self.signals.cursor).map(|row| row.signal) {
                Some(signal) => self.open_reading(Layer::Signal(SignalView { signal })),
                None => self.say_dead(Action::Open),
            },
            _ => return None,
        }
        Some(Vec::new())
    }

    pub(super) fn sort_signals(&mut self, column: Column) {
        self.signals.order = Some(Order::toggled(self.signals.order, column));
        self.sift_signals();
    }

    /// What is copied of the row under the cursor.
    pub(super) fn signal_text(&self) -> Option<String> {
        let row = self.signals.row(self.signals.cursor)?;
        Some(format!("{} {}", row.info().name, amount_text(row.info(), row.all.amount)))
    }

    /// Every node that has the signal, with its series of it: what is out of the normal first, then by amount.
    pub fn signal_on_nodes(&self, signal: SignalId) -> Vec<(&NodeName, &SignalState, Standing)> {
        let now = self.session.now;
        let mut found = Vec::new();
        for (name, state) in &self.session.nodes {
            let own = state.seen.signals.series.values().filter(|series| series.signal == signal);
            found.extend(own.map(|series| (name, series, standing(state, series, now))));
        }
        found.sort_by(|(a, one, x), (b, two, y)| {
            (y.out, y.amount).cmp(&(x.out, x.amount)).then_with(|| (a, &one.item).cmp(&(b, &two.item)))
        });
        found
    }
}

/// What a filter looks at.
pub(super) fn fields_of(signal: &Signal) -> [(&'static str, &'static str); 3] {
    [("name", signal.name), ("source", signal.origin.text()), ("unit", signal.unit)]
}

/// A counter's amount is a difference.
pub fn amount_text(signal: &Signal, amount: u64) -> String {
    if signal.is_counter() && amount > 0 { format!("+{amount}") } else { amount.to_string() }
}
