//! Watching from the ask to the end: begun beside the hub, one at a time, and of a capture's packets by the capture.
//!
//! Owns what is asked while another one is beginning or ending. What is told is told to who is there: only how it stands
//! is kept.

use std::collections::{BTreeMap, BTreeSet};

use nodewatch_analysis::Echoes;
use nodewatch_protocol::{CaptureSpec, CaptureState, RefusalKind, Response, Symptoms, Update, WatchSpec, WatchState};
use tokio::sync::oneshot;

use super::{
    Found, Hub, answer,
    captures::Slot,
    facts::{GRANT_NET_RAW, NET_RAW},
    judging::Own,
    refused,
};
use crate::{
    capture::{self, Ask},
    port_reports::Standing,
    signals::picture::Picture,
    symptoms,
    watch::{self, WatchEvent, Watching},
};

/// Packets of a capture that are cut shorter say too little.
const SHORTEST: u32 = 96;

/// What is seen of the node without anything being written.
pub(super) struct Seen {
    /// The kernel's signals.
    pub(super) signals: Picture,
    /// Packets.
    pub(super) watch: Watched,
    /// What it makes of all that by itself.
    pub(super) own: Own,
    /// What its interfaces have shown lately, to whoever analyses their packets.
    pub(super) echoes: Echoes,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self { signals: Picture::default(), watch: Watched::default(), own: Own::default(), echoes: symptoms::echoes() }
    }

    /// What reports say besides ports.
    pub(super) fn standing(&mut self) -> Standing<'_> {
        let answers = self.own.judge.as_mut().map(|judge| judge.answers()).unwrap_or_default();
        let watched = match &self.watch.state {
            WatchState::On { since, .. } => Some((*since, self.watch.sums)),
            WatchState::Off | WatchState::Failed { .. } => None,
        };
        Standing { watched, counters: self.signals.counters().collect(), answers }
    }
}

/// The one watching that there can be.
#[derive(Default)]
pub(super) struct Watched {
    pub(super) state: WatchState,
    /// It, and the number under which it was asked for.
    running: Option<(u64, Watching)>,
    /// Those that were told to end and are still to tell what they have seen last.
    ending: BTreeMap<u64, Then>,
    /// What was seen since it began.
    sums: nodewatch_report::Watched,
    /// Interfaces whose packets the capture analyses.
    shared: BTreeSet<String>,
    /// Counts asks, so that of two the later one stands.
    asked: u64,
    /// Counts what captures were asked.
    of_captures: u64,
}

/// What follows when one has told its last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing is watched any more.
    Off,
    /// Another one has taken its place, or the agent ends.
    Nothing,
}

/// What came of beginning.
pub(super) struct Begun {
    number: u64,
    spec: WatchSpec,
    outcome: Result<Watching, Response>,
    reply: oneshot::Sender<Response>,
}

impl Watched {
    /// What runs is to end.
    fn ends(&mut self, then: Then) {
        if let Some((number, watching)) = self.running.take() {
            drop(watching);
            self.ending.insert(number, then);
        }
    }
}

impl Hub {
    /// Watches that from now on, or nothing any more. What is refused leaves what is watched as it is.
    pub(super) fn watch(&mut self, spec: Option<WatchSpec>, reply: oneshot::Sender<Response>) {
        self.seen.watch.asked += 1;
        let Some(spec) = spec else {
            self.end_watching();
            return answer(Some(reply), Response::Done);
        };
        if self.closed_by.is_some() {
            let word = refused(RefusalKind::State, "the agent is ending", "deploy another one");
            return answer(Some(reply), word);
        }
        let runs = self.seen.watch.running.is_some();
        if runs && matches!(&self.seen.watch.state, WatchState::On { spec: same, .. } if *same == spec) {
            return answer(Some(reply), Response::Done);
        }
        let number = self.seen.watch.asked;
        let (addresses, found) = (self.node.addresses.clone(), self.found.0.clone());
        let shared = (self.own.clone(), self.seen.echoes.clone());
        let left_out = self.captured_of(&spec);
        // Lists of interfaces and packet sockets are waited for there.
        tokio::task::spawn_blocking(move || {
            let events = found.clone();
            let notify = move |event| {
                // The hub may have ended.
                let _ = events.send(Found::Watch(number, event));
            };
            let outcome = match capture::permitted() {
                Ok(()) => Watching::start(&spec, addresses, left_out, shared, notify)
                    .map_err(|error| Response::Refused(error.refusal())),
                Err(error) => {
                    let message = format!("this agent cannot capture: it lacks {NET_RAW}: {error}");
                    Err(refused(RefusalKind::NotPermitted, message, GRANT_NET_RAW))
                }
            };
            // The hub may have ended.
            let _ = found.send(Found::Watching(Box::new(Begun { number, spec, outcome, reply })));
        });
    }

    pub(super) fn watch_begun(&mut self, begun: Begun) {
        let Begun { number, spec, outcome, reply } = begun;
        let response = match outcome {
            _ if number != self.seen.watch.asked || self.closed_by.is_some() => {
                refused(RefusalKind::State, "a later request replaced this one", "check what is watched now")
            }
            Ok(watching) => {
                let since = watching.since;
                self.seen.watch.ends(Then::Nothing);
                self.seen.watch.ending.values_mut().for_each(|then| *then = Then::Nothing);
                self.seen.watch.running = Some((number, watching));
                self.watch_is(WatchState::On { since, spec });
                Response::Done
            }
            Err(refusal) => refusal,
        };
        answer(Some(reply), response);
    }

    pub(super) fn watch_event(&mut self, number: u64, event: WatchEvent) {
        let ends = self.seen.watch.ending.contains_key(&number);
        if !ends && self.seen.watch.running.as_ref().is_none_or(|(running, _)| *running != number) {
            return;
        }
        match event {
            WatchEvent::Symptoms(symptoms) => self.tell_symptoms(symptoms),
            WatchEvent::Trouble(message) => self.trouble(message),
            WatchEvent::Note(message) => self.subscribers.publish(&Update::Note { message }),
            WatchEvent::Failed(message) if ends => {
                self.trouble(format!("what was watched last is not told: {message}"));
                self.watch_ended(number);
            }
            WatchEvent::Failed(message) => {
                self.seen.watch.running = None;
                self.watch_is(WatchState::Failed { message });
            }
            WatchEvent::Ended => self.watch_ended(number),
        }
    }

    /// It has told its last.
    fn watch_ended(&mut self, number: u64) {
        if self.seen.watch.ending.remove(&number) == Some(Then::Off) {
            self.watch_is(WatchState::Off);
        }
    }

    /// To who is there; it is no state, and nobody is told later.
    pub(super) fn tell_symptoms(&mut self, symptoms: Box<Symptoms>) {
        if let Some(judge) = &mut self.seen.own.judge {
            judge.hear(&symptoms);
        }
        if self.seen.watch.state.is_on() {
            self.seen.watch.sums.add(&symptoms.sums);
        } else if !symptoms.captured || matches!(&self.state, CaptureState::Running { spec, .. } if !shows_all(spec)) {
            // What is not all of the traffic is analysed for the node's own judgement only.
            return;
        }
        if !self.subscribers.is_empty() {
            self.subscribers.publish(&Update::Symptoms(symptoms));
        }
    }

    /// Nothing is watched any more; what is beginning is not to run.
    pub(super) fn end_watching(&mut self) {
        self.seen.watch.asked += 1;
        self.seen.watch.ends(Then::Off);
        if !self.seen.watch.ending.values().any(|then| *then == Then::Off) {
            self.watch_is(WatchState::Off);
        }
    }

    /// The agent ends, which takes back nothing that anybody wants: one in its place is asked for the same.
    pub(super) fn rest_watching(&mut self) {
        self.seen.watch.asked += 1;
        self.seen.watch.ends(Then::Nothing);
    }

    /// All that was watched is told.
    pub(super) fn has_told_all(&self) -> bool {
        self.seen.watch.ending.is_empty()
    }

    fn watch_is(&mut self, state: WatchState) {
        if self.seen.watch.state != state {
            self.seen.watch.sums = nodewatch_report::Watched::default();
            self.seen.watch.state = state.clone();
            self.subscribers.publish(&Update::Watch(state));
            self.share_with_capture();
        }
    }

    /// The interfaces that a capture reads, where it shows all that watching would show of them.
    pub(super) fn captured_of(&self, watched: &WatchSpec) -> BTreeSet<String> {
        let (Slot::Running(_), CaptureState::Running { interfaces, spec, .. }) = (&self.capture, &self.state) else {
            return BTreeSet::new();
        };
        if !shows_all(spec) || watched.is_filtered() {
            return BTreeSet::new();
        }
        let named = |name: &&String| watched.interfaces.is_empty() || watched.interfaces.contains(name);
        interfaces.iter().filter(named).cloned().collect()
    }

    /// The interfaces whose packets the capture is to analyse: those that are watched, and without a watch all of them
    /// while somebody is there to be told, or the node judges itself.
    fn analysed_there(&mut self) -> BTreeSet<String> {
        let is_told = !self.subscribers.is_empty();
        match (&self.seen.watch.state, &self.state) {
            (WatchState::On { spec, .. }, _) => self.captured_of(spec),
            (_, CaptureState::Running { interfaces, .. }) if self.seen.own.judge.is_some() => {
                interfaces.iter().cloned().collect()
            }
            (WatchState::Off, _) if is_told => self.captured_of(&WatchSpec::default()),
            (WatchState::Off | WatchState::Failed { .. }, _) => BTreeSet::new(),
        }
    }

    /// Somebody has come to be told, or nobody is there any more.
    pub(super) fn look_who_is_told(&mut self) {
        if self.analysed_there() != self.seen.watch.shared {
            self.share_with_capture();
        }
    }

    /// What a capture reads is analysed there, and not a second time by what watches.
    pub(super) fn share_with_capture(&mut self) {
        let names = self.analysed_there();
        self.seen.watch.shared.clone_from(&names);
        if let Some((_, watching)) = &self.seen.watch.running {
            watching.leave_out(names.clone());
        }
        let Slot::Running(capture) = &self.capture else { return };
        self.seen.watch.of_captures += 1;
        let (number, asks) = (self.seen.watch.of_captures, capture.asks());
        if names.is_empty() {
            // It may have ended.
            let _ = asks.send(Ask { number, roles: BTreeMap::new() });
            return;
        }
        let addresses = self.node.addresses.clone();
        tokio::task::spawn_blocking(move || {
            let names: Vec<String> = names.into_iter().collect();
            let roles = watch::roles(&names, &addresses).into_iter().collect();
            // It may have ended.
            let _ = asks.send(Ask { number, roles });
        });
    }
}

/// A capture takes all packets of its interfaces, and enough of each.
fn shows_all(spec: &CaptureSpec) -> bool {
    let filtered = spec.filter.as_deref().is_some_and(|filter| !filter.trim().is_empty());
    !filtered && spec.toward.is_empty() && spec.snaplen >= SHORTEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_of_some_packets_or_of_little_of_each_shows_not_all() {
        let all = CaptureSpec { filter: Some(" ".into()), ..CaptureSpec::default() };
        assert!(shows_all(&all) && shows_all(&CaptureSpec { snaplen: 96, ..all.clone() }));
        assert!(!shows_all(&CaptureSpec { snaplen: 95, ..all.clone() }));
        assert!(!shows_all(&CaptureSpec { filter: Some("tcp".into()), ..all.clone() }));
        assert!(!shows_all(&CaptureSpec { toward: vec![[10, 0, 0, 1].into()], ..all }));
    }
}
