//! What of a node is for the session's report: events without ports, acts for the journal, captures, when it could not be
//! reached.
//!
//! Owns how much of it is kept. Pure.

use std::{collections::VecDeque, mem::take};

use nodewatch_protocol::{CaptureSpec, UnixMillis};

use super::{MAX_EVENTS, NodeEvent, NodeState};
use crate::model::{Severity, Span};

/// Captures, and times without a tunnel, that are kept a node.
const MOST: usize = 200;

/// A capture from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// When it began by the node's clock, which tells it from others.
    pub since: UnixMillis,
    /// When it began.
    pub began: UnixMillis,
    /// When it ended and why, if it has.
    pub ended: Option<(UnixMillis, String)>,
    /// Where.
    pub interfaces: Vec<String>,
    /// What was asked for.
    pub spec: CaptureSpec,
}

/// What the report tells of a node.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Events that are no port's, oldest first: ports would push all others out.
    pub events: VecDeque<NodeEvent>,
    /// What was done there and is not in the journal yet.
    acts: Vec<NodeEvent>,
    /// Its captures, oldest first.
    pub runs: VecDeque<Run>,
    /// When its agent could not be reached, oldest first.
    pub outages: VecDeque<Span>,
}

fn push<T>(list: &mut VecDeque<T>, one: T, most: usize) {
    if list.len() == most {
        list.pop_front();
    }
    list.push_back(one);
}

impl Told {
    pub(super) fn event(&mut self, event: NodeEvent) {
        push(&mut self.events, event, MAX_EVENTS);
    }

    /// A capture runs.
    pub(super) fn runs(&mut self, run: Run) {
        match self.runs.back_mut().filter(|last| last.since == run.since) {
            Some(last) => (last.interfaces, last.ended) = (run.interfaces, None),
            None => push(&mut self.runs, run, MOST),
        }
    }

    /// The last capture has ended.
    pub(super) fn ended(&mut self, at: UnixMillis, reason: String) {
        if let Some(last) = self.runs.back_mut() {
            last.ended.get_or_insert((at, reason));
        }
    }

    /// Its agent could not be reached.
    pub(in crate::session) fn outage(&mut self, from: UnixMillis, until: UnixMillis) {
        push(&mut self.outages, Span { from, until: Some(until) }, MOST);
    }
}

impl NodeState {
    /// Remembers that something happened.
    pub fn note(&mut self, at: UnixMillis, text: impl Into<String>) {
        self.remember(NodeEvent { at, text: text.into(), severity: Severity::Info });
    }

    /// The same of something that is not as it should be.
    pub fn note_fault(&mut self, at: UnixMillis, text: impl Into<String>) {
        self.remember(NodeEvent { at, text: text.into(), severity: Severity::Warning });
    }

    fn remember(&mut self, event: NodeEvent) {
        self.log.told.event(event.clone());
        self.note_port(event);
    }

    /// The same of a port, of which there may be many.
    pub(super) fn note_port(&mut self, event: NodeEvent) {
        if self.log.events.len() == MAX_EVENTS {
            self.log.events.pop_front();
        }
        self.log.events.push_back(event);
    }

    /// Remembers something that was done on purpose; the journal has it too.
    pub(in crate::session) fn note_act(&mut self, at: UnixMillis, text: String) {
        if self.log.told.acts.len() < MAX_EVENTS {
            self.log.told.acts.push(NodeEvent { at, text: text.clone(), severity: Severity::Info });
        }
        self.note(at, text);
    }

    /// What was done and is not in the journal yet; it is now.
    pub(in crate::session) fn take_acts(&mut self) -> Vec<NodeEvent> {
        take(&mut self.log.told.acts)
    }
}
