//! The list of nodes: filter, order, cursor, marks, ranges.
//!
//! Owns which nodes are shown and what the list's keys mean. Pure.

use std::collections::BTreeSet;

use nodewatch_protocol::UnixMillis;

use super::{App, Screen, action::Action, extent::Extent, order::Order};
use crate::{
    base::text,
    model::{NodeName, Notice, Place, Workloads},
    session::{
        Effect,
        filter::{Filter, Lead},
        node::NodeState,
    },
};

/// Rows that a page key moves.
const PAGE: isize = 10;
/// Columns that can be scrolled away.
const MOST_COLUMNS: usize = 12;

/// The list's own state.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The node under the cursor, by name, so that it stays when rows move.
    pub cursor: Option<NodeName>,
    /// The filter and its text.
    pub filter: (String, Filter),
    /// The order of rows; by name when there is none.
    pub order: Option<Order>,
    /// The nodes that the filter's pod, service or address leads to.
    led_to: BTreeSet<NodeName>,
    /// Where pods run, as far as somebody has looked for one.
    pub workloads: Lookup,
    /// What the nodes that are shown need room for.
    pub extent: Extent,
    /// Where a range of marks begins.
    pub(super) mark_anchor: Option<NodeName>,
}

impl List {
    /// The same choices over what there is now; what was looked up meanwhile stays.
    pub(super) fn look_like(&mut self, other: &Self) {
        let workloads = std::mem::take(&mut self.workloads);
        self.clone_from(other);
        self.workloads = workloads;
    }
}

/// Pods and services are looked up anew after this long, in milliseconds; where what was looked for was not among them, it
/// may just have been made.
const LOOK_AGAIN: u64 = 30_000;
const LOOK_AGAIN_SOON: u64 = 10_000;

/// How far looking up pods and services has come.
#[derive(Debug, Clone, Default)]
pub struct Lookup {
    /// When they were asked for last.
    asked: Option<UnixMillis>,
    /// They are being asked for.
    pub waiting: bool,
    /// What was found last.
    pub found: Option<Workloads>,
}

impl App {
    /// Looks pods and services up where the list's filter needs them and what is known is old.
    pub(super) fn look_up_workloads(&mut self) -> Vec<Effect> {
        let now = self.session.now;
        let leads = self.list.filter.1.lead().is_some();
        let names = (self.sees_connections() && self.connections_told()) || self.types_why();
        if !leads && !names && self.screen != Screen::Pods {
            return Vec::new();
        }
        let nothing = match (leads, &self.screen) {
            (true, _) => self.shown().next().is_none(),
            (false, Screen::Pods) => self.pod_rows().is_empty(),
            (false, _) => false,
        };
        let after = if nothing { LOOK_AGAIN_SOON } else { LOOK_AGAIN };
        let lookup = &mut self.list.workloads;
        let old = lookup.asked.is_none_or(|at| now.saturating_sub(at) >= after);
        let local = self.session.terms.place == Place::Local;
        if lookup.waiting || !old || local {
            return Vec::new();
        }
        (lookup.asked, lookup.waiting) = (Some(now), true);
        vec![Effect::FindWorkloads]
    }

    /// They were found, or some of them.
    pub(super) fn found_workloads(&mut self, found: Workloads) {
        let before = self.list.workloads.found.take().unwrap_or_default();
        let filters = self.list.filter.1.lead().is_some();
        for gap in found.gaps.iter().filter(|gap| filters && !before.gaps.contains(gap)) {
            self.session.notify(Notice::warning("the filter does not see everything", gap.clone(), ""));
        }
        self.list.workloads.waiting = false;
        self.list.workloads.found = Some(found.or_before(before));
        self.refresh_connections();
        self.follow_lead();
    }

    /// Which nodes the filter's pod, service or address leads to, by what is known.
    pub(super) fn follow_lead(&mut self) {
        let lead = self.list.filter.1.lead();
        let found = lead.zip(self.list.workloads.found.as_ref()).map(|(lead, found)| lead.nodes(found));
        self.list.led_to = found.unwrap_or_default();
        self.settle_cursor();
    }

    /// Why a pod, a service or an address leads nowhere, and how old what is known of them is.
    pub fn leads_nowhere(&self) -> Option<String> {
        let (lead, lookup) = (self.list.filter.1.lead()?, &self.list.workloads);
        let found = lookup.found.as_ref()?;
        let why = match lead {
            Lead::Pod(name) => format!("no pod on a node is called {name:?}"),
            Lead::Service(name) => match found.services_named(name).as_slice() {
                [] => format!("no service is called {name:?}"),
                [one] => format!("service {one} has no ready pod"),
                more => format!("none of {} services called {name:?} has a ready pod", more.len()),
            },
            Lead::Address(address) => format!("no node, pod or service has the address {address}"),
        };
        let why = found.gaps.first().map_or_else(|| why.clone(), |gap| format!("{why}, as far as is known ({gap})"));
        let age = text::lasting(self.session.now.saturating_sub(lookup.asked.unwrap_or(self.session.now)));
        Some(if lookup.waiting {
            format!("{why} so far: reading pods and services again")
        } else {
            format!("{why}: pods and services were read {age} ago, and are again every {} s", LOOK_AGAIN_SOON / 1000)
        })
    }

    /// The nodes that the list shows, in order.
    pub fn shown(&self) -> std::vec::IntoIter<&NodeState> {
        let faults = self.layout.faults_only;
        // What fails there is a fault of its own.
        let wrong = |state: &NodeState| state.is_faulty() || state.seen.watch.recent(self.session.now).failed > 0;
        let shown =
            |state: &&NodeState| (!faults || wrong(state)) && self.list.filter.1.shows(state, &self.list.led_to);
        let mut nodes: Vec<&NodeState> = self.session.nodes.values().filter(shown).collect();
        if let Some(order) = self.list.order {
            nodes.sort_by(|a, b| order.nodes(a, b));
        }
        nodes.into_iter()
    }

    /// Marked nodes that a key would act on and that are not on the screen.
    pub fn hidden_marks(&self) -> Vec<NodeName> {
        if self.session.marks.is_empty() || matches!(self.screen, Screen::Node(_)) {
            return Vec::new();
        }
        let shown: BTreeSet<&NodeName> = self.shown().map(|state| &state.node.name).collect();
        self.session.marks.iter().filter(|name| !shown.contains(name)).cloned().collect()
    }

    /// A key on the list.
    pub(super) fn list_key(&mut self, action: Action) -> Vec<Effect> {
        if self.move_in_list(action) {
            return Vec::new();
        }
        match action {
            Action::Open => self.screen = self.list.cursor.clone().map_or(Screen::Nodes, Screen::Node),
            Action::Back if !self.list.filter.0.is_empty() => {
                self.list.filter = (String::new(), Filter::All);
                self.settle_cursor();
            }
            Action::Back if self.layout.faults_only => {
                self.layout.faults_only = false;
                self.settle_cursor();
            }
            Action::Back => self.clear_marks(),
            _ => return self.common_key(action),
        }
        Vec::new()
    }

    fn clear_marks(&mut self) {
        self.session.mark(BTreeSet::new());
        self.session.forget_joining();
    }

    /// Moves the cursor, or marks. False when the action is another one.
    pub(super) fn move_in_list(&mut self, action: Action) -> bool {
        match action {
            Action::Up => self.move_cursor(-1),
            Action::Down => self.move_cursor(1),
            Action::PageUp => self.move_cursor(-PAGE),
            Action::PageDown => self.move_cursor(PAGE),
            Action::Top => self.move_cursor(isize::MIN),
            Action::Bottom => self.move_cursor(isize::MAX),
            Action::Mark => {
                if let Some(name) = self.list.cursor.clone() {
                    self.session.toggle_mark(&name);
                    self.list.mark_anchor = Some(name);
                    self.move_cursor(1);
                }
            }
            Action::MarkRange => self.mark_range(),
            Action::MarkAll => self.mark_all(),
            Action::ClearMarks => self.clear_marks(),
            Action::Sort(column) => self.list.order = Some(Order::toggled(self.list.order, column)),
            Action::Left => self.layout.first_column = self.layout.first_column.saturating_sub(1),
            Action::Right => self.layout.first_column = (self.layout.first_column + 1).min(MOST_COLUMNS),
            Action::Wide => {
                self.layout.wide = !self.layout.wide;
                self.layout.first_column = 0;
            }
            _ => return false,
        }
        true
    }

    fn move_cursor(&mut self, by: isize) {
        let shown: Vec<&NodeState> = self.shown().collect();
        let under = self.list.cursor.as_ref().and_then(|cursor| self.session.nodes.get(cursor));
        let at = under.and_then(|under| shown.iter().position(|state| std::ptr::eq(*state, under)));
        let last = shown.len().saturating_sub(1);
        let next = at.map_or(0, |at| at.saturating_add_signed(by).min(last));
        let next = shown.get(next).map(|state| state.node.name.clone());
        if next != self.list.cursor {
            self.scroll = 0;
            self.tabs.forget_rows();
        }
        self.list.cursor = next;
    }

    /// Keeps the cursor on a node that is shown, and the columns to what is shown.
    pub(super) fn settle_cursor(&mut self) {
        self.measure_list();
        // What fills the screen is what keys are about, whatever the list's filter says of it meanwhile.
        if matches!(&self.screen, Screen::Node(name) if self.session.nodes.contains_key(name)) {
            return;
        }
        let shown =
            self.list.cursor.as_ref().is_some_and(|cursor| self.shown().any(|state| state.node.name == *cursor));
        if !shown {
            // The next one by name takes the place of one that went.
            let after = self.shown().filter(|state| Some(&state.node.name) > self.list.cursor.as_ref());
            let next = after.min_by(|a, b| a.node.name.cmp(&b.node.name)).or(self.shown().last());
            self.list.cursor = next.map(|state| state.node.name.clone());
            self.tabs.forget_rows();
        }
    }

    fn mark_range(&mut self) {
        let (Some(from), Some(to)) = (self.list.mark_anchor.clone(), self.list.cursor.clone()) else { return };
        let names: Vec<NodeName> = self.shown().map(|state| state.node.name.clone()).collect();
        let place = |wanted: &NodeName| names.iter().position(|name| name == wanted);
        if let (Some(from), Some(to)) = (place(&from), place(&to)) {
            let range = names[from.min(to)..=from.max(to)].iter();
            self.session.mark(self.session.marks.iter().chain(range).cloned().collect());
        }
    }

    /// Marks all that are shown; when they are, also those that join; then no more.
    pub(super) fn mark_all(&mut self) {
        let all: BTreeSet<NodeName> = self.shown().map(|state| state.node.name.clone()).collect();
        let marked = !all.is_empty() && all == self.session.marks;
        self.session.mark(all);
        if !marked {
            return;
        }
        let hidden = self
            .session
            .nodes
            .values()
            .filter(|state| state.present && !self.session.marks.contains(&state.node.name))
            .count();
        if self.session.joining.is_wanted() {
            self.session.forget_joining();
        } else if hidden > 0 {
            let headline = format!("not all nodes are marked: {} not shown", text::counted(hidden, "node"));
            let notice =
                Notice::warning(headline, "", "{back} shows all; then {mark-all} twice includes nodes that join later");
            self.session.notify(notice.naming_keys());
        } else {
            self.session.mean_later_nodes();
        }
    }
}
