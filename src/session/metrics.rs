//! Metrics for an OpenTelemetry collector: when they are due, and what is known then.
//!
//! Owns that what is sent is of now: of a node whose agent is not reached, or that is not watched, nothing is. Pure.

use std::collections::BTreeMap;

use nodewatch_answers::Code;
use nodewatch_protocol::CaptureState;
use nodewatch_signals::SignalId;

use super::{
    Effect, Session,
    node::{Agent, NodeState},
};
use crate::model::{
    PortClass,
    metrics::{
        ANSWER_CODE, ANSWERS, BYTES, DELAYED, DROPPED, DROPPED_BY, FAILED, Instrument, Metric, NODE, PACKETS,
        PORT_CLASS, PORTS, Point, RETRANSMITTED, SIGNAL_ITEM, Series, Snapshot, UNANSWERED,
    },
};

/// A port of no class that is known.
const UNKNOWN: &str = "unknown";
/// The classes that ports are counted by.
const CLASSES: [PortClass; 4] = [PortClass::Expected, PortClass::ByRules, PortClass::Unexpected, PortClass::Dead];

/// Series by metric, in the order in which they were begun.
#[derive(Default)]
struct Gathered(Vec<Series>);

impl Gathered {
    fn put(&mut self, metric: Metric, value: u64, attributes: Vec<(&'static str, String)>, since: Option<u64>) {
        let since = since.filter(|_| metric.instrument == Instrument::Counter);
        let point = Point { attributes, value, since };
        match self.0.iter_mut().find(|series| series.metric.name == metric.name) {
            Some(series) => series.points.push(point),
            None => self.0.push(Series { metric, points: vec![point] }),
        }
    }
}

impl Session {
    /// Metrics that are due; the first are a period after the beginning.
    pub(super) fn metrics_due(&mut self) -> Option<Effect> {
        let every = u64::try_from(self.terms.sinks.metrics?.as_millis()).unwrap_or(u64::MAX).max(1);
        let last = *self.life.measured.get_or_insert(self.now);
        let periods = self.now.saturating_sub(last) / every;
        if periods == 0 || self.is_removing() {
            return None;
        }
        self.life.measured = Some(last.saturating_add(periods.saturating_mul(every)));
        self.measure()
    }

    /// The numbers as they are now, where they are sent and there are any.
    pub(super) fn measure(&self) -> Option<Effect> {
        self.terms.sinks.metrics?;
        let snapshot = self.snapshot();
        (!snapshot.series.is_empty()).then(|| Effect::Measure(Box::new(snapshot)))
    }

    fn snapshot(&self) -> Snapshot {
        let live = || self.nodes.values().filter(|state| state.agent == Agent::Live);
        let mut all = Gathered::default();
        live().filter(|state| state.ports.known).for_each(|state| self.put_ports(state, &mut all));
        if live().any(|state| state.is_analysing(self.now)) {
            for code in Code::ALL {
                let standing = self.answers.current().filter(|answer| answer.certainty.is_answer());
                let count = standing.filter(|answer| answer.code == Some(code)).count();
                all.put(ANSWERS, count as u64, vec![(ANSWER_CODE, code.text().to_owned())], None);
            }
        }
        live().for_each(|state| self.put_symptoms(state, &mut all));
        live().for_each(|state| self.put_capture(state, &mut all));
        let Gathered(mut series) = all;
        series.extend(self.signal_series(live()));
        Snapshot { at: self.wall(self.now), series }
    }

    fn put_ports(&self, state: &NodeState, all: &mut Gathered) {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for listed in self.list_ports(state).iter().filter(|listed| !self.leaves_out(&listed.port)) {
            let word = if listed.class.is_known() { listed.class.word() } else { UNKNOWN };
            *counts.entry(word).or_default() += 1;
        }
        // A class that has none any more is told; where nobody says what to expect there is but one.
        if !counts.contains_key(UNKNOWN) {
            for class in CLASSES {
                counts.entry(class.word()).or_default();
            }
        }
        for (class, count) in counts {
            all.put(PORTS, count, vec![node(state), (PORT_CLASS, class.to_owned())], None);
        }
    }

    fn put_symptoms(&self, state: &NodeState, all: &mut Gathered) {
        let watch = &state.seen.watch;
        let Some((since, _)) = watch.heard().filter(|_| state.is_analysing(self.now)) else { return };
        let sums = &watch.all;
        for (metric, count) in [
            (FAILED, sums.failed),
            (DELAYED, sums.delayed),
            (RETRANSMITTED, sums.retransmitted),
            (UNANSWERED, sums.dns_unanswered),
        ] {
            all.put(metric, count, vec![node(state)], Some(self.wall(since)));
        }
    }

    fn put_capture(&self, state: &NodeState, all: &mut Gathered) {
        let Some(counts) = state.counts.latest.as_ref().filter(|_| state.capture != CaptureState::Idle) else { return };
        let since = Some(self.wall(state.counts.began));
        all.put(PACKETS, counts.packets, vec![node(state)], since);
        all.put(BYTES, counts.bytes, vec![node(state)], since);
        let dropped = counts.dropped;
        for (by, count) in [("kernel", dropped.kernel), ("interface", dropped.interface), ("queue", dropped.queue)] {
            all.put(DROPPED, count, vec![node(state), (DROPPED_BY, by.to_owned())], since);
        }
    }

    /// In the order of the table of signals.
    fn signal_series<'a>(&self, live: impl Iterator<Item = &'a NodeState>) -> Vec<Series> {
        let mut series: BTreeMap<SignalId, Series> = BTreeMap::new();
        for state in live {
            let since = state.seen.signals.began().map(|began| self.wall(began));
            for signal in state.seen.signals.series.values() {
                let Some(metric) = Metric::of_signal(signal.info()) else { continue };
                let is_counter = metric.instrument == Instrument::Counter;
                let mut attributes = vec![node(state)];
                if metric.attributes.contains(&SIGNAL_ITEM) {
                    attributes.push((SIGNAL_ITEM, signal.item.clone()));
                }
                let value = if is_counter { signal.total } else { signal.value };
                let point = Point { attributes, value, since: since.filter(|_| is_counter) };
                series.entry(signal.signal).or_insert(Series { metric, points: Vec::new() }).points.push(point);
            }
        }
        series.into_values().collect()
    }
}

fn node(state: &NodeState) -> (&'static str, String) {
    (NODE, state.node.name.0.clone())
}
