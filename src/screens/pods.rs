//! The Pods screen: pods with their nodes, addresses, phases and restarts.
//!
//! Owns which rows there are and in which order. Captures of them are asked for in `aiming`. Pure.

use nodewatch_protocol::CaptureSpec;

use super::{
    App, Screen,
    action::Action,
    cursor::Cursor,
    order::{Column, Order},
};
use crate::{
    model::{Aimed, PodPlace},
    session::{Effect, Permission, filter::TextFilter},
};

/// What a filter can name.
pub(super) const FIELDS: &[&str] = &["pod", "node", "address", "phase"];
/// Rows that a page key moves.
const PAGE: usize = 20;

/// The screen's own state.
#[derive(Debug, Clone, Default)]
pub struct Pods {
    /// The pod under the cursor, by `NAMESPACE/NAME`; the first, as long as it was not moved.
    pub cursor: Cursor<String>,
    /// The filter and its text.
    pub filter: (String, TextFilter),
    /// The order of rows; by name when there is none.
    pub order: Option<Order>,
    /// A capture of pods that begins once it is known where these are.
    pub(super) aiming: Option<CaptureSpec>,
}

impl Pods {
    /// Where the user was on another one.
    pub(super) fn look_like(&mut self, other: &Self) {
        (self.cursor, self.filter, self.order) = (other.cursor.clone(), other.filter.clone(), other.order);
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRow<'a> {
    /// The pod.
    pub pod: &'a PodPlace,
    /// Its packets are captured because it was asked for by name.
    pub aimed: bool,
}

fn is(row: &PodRow<'_>, name: &String) -> bool {
    row.pod.name == *name
}

impl App {
    /// Opens the screen; from a node with that node's pods.
    pub(super) fn open_pods(&mut self) {
        let node = match &self.screen {
            Screen::Node(name) => Some(name.clone()),
            _ => None,
        };
        self.screen = Screen::Pods;
        self.pods.cursor = Cursor::default();
        if let Some(node) = node {
            // A node's name is no expression.
            let text = format!("node:{node}");
            self.pods.filter = (text.clone(), TextFilter::parse(&text, FIELDS).unwrap_or_default());
        }
    }

    /// What the screen shows, in order.
    pub fn pod_rows(&self) -> Vec<PodRow<'_>> {
        let aim = self.session.aim.as_ref();
        let aimed: Vec<&str> = aim.and_then(|aim| aim.now.as_ref()).into_iter().flat_map(Aimed::pods).collect();
        let filter = &self.pods.filter.1;
        let shows = |pod: &&PodPlace| {
            let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
            let mut fields: Vec<(&str, &str)> =
                vec![("pod", &pod.name), ("node", &pod.node.0), ("phase", pod.phase.as_str())];
            fields.extend(addresses.iter().map(|address| ("address", address.as_str())));
            (!self.layout.faults_only || pod.is_faulty()) && filter.shows(&fields)
        };
        let found = self.list.workloads.found.iter().flat_map(|found| &found.pods);
        let mut rows: Vec<PodRow<'_>> =
            found.filter(shows).map(|pod| PodRow { pod, aimed: aimed.contains(&pod.name.as_str()) }).collect();
        rows.sort_by(|a, b| {
            let by_name = a.pod.name.cmp(&b.pod.name);
            match self.pods.order {
                Some(order) => {
                    let ordering = match order.column {
                        Column::Status => a.pod.phase.cmp(&b.pod.phase).then(b.pod.restarts.cmp(&a.pod.restarts)),
                        Column::Zone => a.pod.node.cmp(&b.pod.node),
                        _ => by_name,
                    };
                    order.directed(ordering).then(by_name)
                }
                None => by_name,
            }
        });
        rows
    }

    /// Where the cursor is among the rows that are shown.
    pub fn pod_place(&self, rows: &[PodRow<'_>]) -> usize {
        self.pods.cursor.place(rows, is)
    }

    /// The pod under the cursor.
    pub(super) fn pod_under_cursor(&self) -> Option<PodRow<'_>> {
        let mut rows = self.pod_rows();
        let at = self.pod_place(&rows);
        (at < rows.len()).then(|| rows.swap_remove(at))
    }

    /// The next pod takes the place of one that is gone.
    pub(super) fn settle_pods(&mut self) {
        let mut cursor = self.pods.cursor.clone();
        cursor.settle(&self.pod_rows(), is, |row| row.pod.name.clone());
        self.pods.cursor = cursor;
    }

    fn move_in_pods(&mut self, to: impl Fn(usize) -> usize) {
        let rows = self.pod_rows();
        let at = to(self.pod_place(&rows)).min(rows.len().saturating_sub(1));
        let key = rows.get(at).map(|row| row.pod.name.clone());
        self.pods.cursor.put(at, key);
    }

    /// A key on the Pods screen; `None` when it means what it means everywhere.
    pub(super) fn pods_key(&mut self, action: Action) -> Option<Vec<Effect>> {
        match action {
            Action::Up => self.move_in_pods(|at| at.saturating_sub(1)),
            Action::Down => self.move_in_pods(|at| at + 1),
            Action::PageUp => self.move_in_pods(|at| at.saturating_sub(PAGE)),
            Action::PageDown => self.move_in_pods(|at| at + PAGE),
            Action::Top => self.move_in_pods(|_| 0),
            Action::Bottom => self.move_in_pods(|_| usize::MAX),
            Action::Sort(column) => self.pods.order = Some(Order::toggled(self.pods.order, column)),
            Action::Back if !self.pods.filter.0.is_empty() => self.pods.filter = <(String, TextFilter)>::default(),
            Action::Back if self.layout.faults_only => self.layout.faults_only = false,
            Action::Back => self.screen = Screen::Nodes,
            Action::Open => {
                let node = self.pod_under_cursor().map(|row| row.pod.node.clone());
                if let Some(name) = node.filter(|name| self.session.nodes.contains_key(name)) {
                    self.list.cursor = Some(name.clone());
                    self.screen = Screen::Node(name);
                }
            }
            Action::Capture | Action::CaptureOptions if self.session.permission == Permission::ReadOnly => {
                self.refuse_read_only();
            }
            Action::Capture => return Some(self.toggle_pod()),
            Action::CaptureOptions => self.open_pod_form(),
            _ => return None,
        }
        Some(Vec::new())
    }
}
