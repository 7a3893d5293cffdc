//! The Pods screen: pods with their nodes and addresses, and captures of pods by key or by the form.
//!
//! Owns which rows there are, and what a capture of pods asks before it begins. Pure.

use nodewatch_protocol::CaptureSpec;

use super::{
    App, Confirm, Layer, Screen, action::Action, cursor::Cursor, dialogs::form::Field, order::Column, order::Order,
};
use crate::{
    model::{NodeName, Notice, ObjectName, PodPlace, Target, targets_text},
    session::{
        Effect, Permission,
        filter::TextFilter,
        pending::Running,
        targets::{not_found, too_many},
    },
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
    aiming: Option<CaptureSpec>,
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

/// A pod as a target.
fn target_of(name: &str) -> Option<Target> {
    let (namespace, name) = name.split_once('/')?;
    Some(Target::Pod(ObjectName { namespace: Some(namespace.to_owned()), name: name.to_owned() }))
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
        let aimed: Vec<&str> = aim.and_then(|aim| aim.now.as_ref()).into_iter().flat_map(|now| now.pods()).collect();
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

    fn open_pod_form(&mut self) {
        let Some(target) = self.pod_under_cursor().and_then(|row| target_of(&row.pod.name)) else {
            self.session.notify(Notice::warning("no capture was started", "no pod selected", ""));
            return;
        };
        let mut form = self.form.clone();
        form.set(Field::Pods, &target.written());
        form.set(Field::Filter, &self.form.value(Field::Filter).to_owned());
        self.open(Layer::Form(Box::new(form)));
    }

    /// Captures the pod under the cursor beside those that are captured already; again: no more.
    fn toggle_pod(&mut self) -> Vec<Effect> {
        let Some(row) = self.pod_under_cursor() else {
            self.session.notify(Notice::warning("no capture was started", "no pod selected", ""));
            return Vec::new();
        };
        let (node, Some(target)) = (row.pod.node.clone(), target_of(&row.pod.name)) else { return Vec::new() };
        let running = self.session.aim.as_ref().filter(|aim| aim.captures());
        let mut targets = running.map(|aim| aim.targets.clone()).unwrap_or_default();
        let captures = running.is_some();
        if let Some(at) = targets.iter().position(|known| *known == target) {
            targets.remove(at);
            if targets.is_empty() {
                return self.session.stop_targets();
            }
            self.session.notify(Notice::info(format!("{target} is not captured any more")));
            return self.session.retarget(targets);
        }
        if row_is_aimed(self, &target) {
            let all = running_text(self);
            let next_step = "{capture} on its node stops that capture";
            let notice = Notice::info(format!("{target} is captured already: {all}"));
            self.session.notify(Notice { next_step: next_step.to_owned(), ..notice }.naming_keys());
            return Vec::new();
        }
        targets.push(target);
        if captures && !self.session.without_agent(std::slice::from_ref(&node)).contains(&node) {
            return self.session.retarget(targets);
        }
        let mut form = self.form.clone();
        match form.submit(self.session.ring_bytes()) {
            Some(spec) => self.aim_and_capture(targets, spec),
            None => {
                self.open(Layer::Form(Box::new(form)));
                Vec::new()
            }
        }
    }

    /// Finds out where these are, and captures them then.
    pub(super) fn aim_and_capture(&mut self, targets: Vec<Target>, spec: CaptureSpec) -> Vec<Effect> {
        self.session.notify(Notice::info(format!("looking for {} ...", targets_text(&targets))));
        self.pods.aiming = Some(spec);
        self.session.aim_at(targets)
    }

    /// It is known where the targets are, or not: the capture begins, after what questions that takes.
    pub(super) fn targets_found(&mut self) -> Vec<Effect> {
        let Some(aim) = self.session.aim.as_ref().filter(|_| self.pods.aiming.is_some()) else { return Vec::new() };
        let names: Result<Vec<NodeName>, Notice> = match (&aim.now, &aim.trouble) {
            (Some(aimed), _) => match not_found(&aimed.missing).or_else(|| too_many(aimed)) {
                Some(notice) => Err(notice),
                None if aimed.nodes.is_empty() => {
                    let headline = format!("nothing to capture of {}", targets_text(&aim.targets));
                    Err(Notice::warning(headline, aimed.gaps.join("; "), ""))
                }
                None => Ok(aimed.nodes.keys().cloned().collect()),
            },
            (None, Some(notice)) => Err(notice.clone()),
            (None, None) => return Vec::new(),
        };
        let Some(spec) = self.pods.aiming.take() else { return Vec::new() };
        match names {
            Ok(names) => self.ask_start_captures(&names, spec, Running::IsReplaced),
            Err(notice) => {
                self.session.notify(notice);
                self.session.aim_at_nothing()
            }
        }
    }

    /// What was aimed at and is not captured, as the question about it had a no, is not followed.
    pub(super) fn drop_idle_aim(&mut self) -> Vec<Effect> {
        let asked = matches!(self.top(), Some(Layer::Confirm(Confirm::Deploy(..) | Confirm::DefaultImage(..))))
            || matches!(self.top(), Some(Layer::Confirm(Confirm::FullContent(..)) | Layer::Typed(_)));
        let idle = self.session.aim.as_ref().is_some_and(|aim| !aim.captures());
        if idle && !asked && self.pods.aiming.is_none() { self.session.aim_at_nothing() } else { Vec::new() }
    }
}

/// A wider target has that pod.
fn row_is_aimed(app: &App, target: &Target) -> bool {
    let Target::Pod(name) = target else { return false };
    let name = name.to_string();
    let aim = app.session.aim.as_ref().filter(|aim| aim.captures());
    aim.and_then(|aim| aim.now.as_ref()).is_some_and(|now| now.pods().any(|pod| pod == name))
}

fn running_text(app: &App) -> String {
    app.session.aim.as_ref().map(|aim| targets_text(&aim.targets)).unwrap_or_default()
}
