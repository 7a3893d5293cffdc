//! Captures of pods by key and by the form: what is asked before one begins, and what a key on a pod does.
//!
//! Owns what waits for it to be known where the pods are. What follows them then is the session's. Pure.

use nodewatch_protocol::CaptureSpec;

use super::{App, Confirm, Layer, dialogs::form::Field};
use crate::{
    model::{NodeName, Notice, ObjectName, Target, targets_text},
    session::{
        Effect,
        pending::Running,
        targets::{not_found, too_many},
    },
};

/// A pod as a target.
fn target_of(name: &str) -> Option<Target> {
    let (namespace, name) = name.split_once('/')?;
    Some(Target::Pod(ObjectName { namespace: Some(namespace.to_owned()), name: name.to_owned() }))
}

impl App {
    /// Opens the form for the pod under the cursor.
    pub(super) fn open_pod_form(&mut self) {
        let Some(target) = self.pod_under_cursor().and_then(|row| target_of(&row.pod.name)) else {
            self.session.notify(Notice::warning("no capture was started", "no pod selected", ""));
            return;
        };
        let mut form = self.form.clone();
        form.set(Field::Pods, &target.written());
        form.set(Field::Filter, self.form.value(Field::Filter));
        self.open(Layer::Form(Box::new(form)));
    }

    /// Captures the pod under the cursor beside those that are captured already; again: no more.
    pub(super) fn toggle_pod(&mut self) -> Vec<Effect> {
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
        let Some(spec) = form.submit(self.session.ring_bytes()) else {
            self.open(Layer::Form(Box::new(form)));
            return Vec::new();
        };
        self.aim_and_capture(targets, spec)
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
