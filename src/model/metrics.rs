//! Metrics for an OpenTelemetry collector: which there are, and what is sent of them at once.
//!
//! Owns the one table of names, units, kinds and attributes, by which sessions measure and of which docs/reference.md is made.
//! Pure.

use std::borrow::Cow;

use nodewatch_protocol::UnixMillis;
use nodewatch_signals::{Kind, Scope, Signal};

/// The attribute with a node's name.
pub const NODE: &str = "k8s.node.name";
/// The attribute with a port's class.
pub const PORT_CLASS: &str = "nodewatch.port.class";
/// The attribute with an answer's code.
pub const ANSWER_CODE: &str = "nodewatch.answer.code";
/// The attribute that says which of the three has dropped packets.
pub const DROPPED_BY: &str = "nodewatch.dropped.by";
/// The attribute with the interface or the listening socket that a signal is about.
pub const SIGNAL_ITEM: &str = "nodewatch.signal.item";

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instrument {
    /// It says how much there is now.
    Gauge,
    /// It only rises, from when its points say on.
    Counter,
}

impl Instrument {
    /// As people read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Its stable name.
    pub name: Cow<'static, str>,
    /// How it moves.
    pub instrument: Instrument,
    /// Its unit in UCUM.
    pub unit: Cow<'static, str>,
    /// Its attributes.
    pub attributes: &'static [&'static str],
    /// What it means, without a full stop.
    pub meaning: &'static str,
}

const fn metric(
    name: &'static str,
    instrument: Instrument,
    unit: &'static str,
    attributes: &'static [&'static str],
    meaning: &'static str,
) -> Metric {
    Metric { name: Cow::Borrowed(name), instrument, unit: Cow::Borrowed(unit), attributes, meaning }
}

/// Ports of a node by class.
pub const PORTS: Metric = metric(
    "nodewatch.ports",
    Instrument::Gauge,
    "{port}",
    &[NODE, PORT_CLASS],
    "Listening sockets, and ports that should answer without one, by class; excluded ports are left out",
);
/// Answers that stand.
pub const ANSWERS: Metric = metric(
    "nodewatch.answers",
    Instrument::Gauge,
    "{answer}",
    &[ANSWER_CODE],
    "Answers of a code that stand: 0 where connections do not fail for that reason. Sent while some node is watched or captured",
);
/// What did not come about.
pub const FAILED: Metric = metric(
    "nodewatch.attempts.failed",
    Instrument::Counter,
    "{attempt}",
    &[NODE],
    "Connections and questions that failed, whichever symptom",
);
/// Attempts that had to be repeated.
pub const DELAYED: Metric =
    metric("nodewatch.attempts.delayed", Instrument::Counter, "{attempt}", &[NODE], "Attempts that had to be repeated");
/// Segments that were sent again.
pub const RETRANSMITTED: Metric = metric(
    "nodewatch.segments.retransmitted",
    Instrument::Counter,
    "{segment}",
    &[NODE],
    "TCP segments that were sent again",
);
/// Questions without an answer.
pub const UNANSWERED: Metric =
    metric("nodewatch.dns.unanswered", Instrument::Counter, "{question}", &[NODE], "DNS questions without an answer");
/// Packets of a capture.
pub const PACKETS: Metric = metric(
    "nodewatch.capture.packets",
    Instrument::Counter,
    "{packet}",
    &[NODE],
    "Packets that the node's capture has seen since it began",
);
/// Their bytes.
pub const BYTES: Metric =
    metric("nodewatch.capture.bytes", Instrument::Counter, "By", &[NODE], "Bytes on the wire of these packets");
/// Packets that a capture lacks.
pub const DROPPED: Metric = metric(
    "nodewatch.capture.dropped",
    Instrument::Counter,
    "{packet}",
    &[NODE, DROPPED_BY],
    "Packets that the capture lacks, dropped by the kernel's ring (`kernel`), the interface (`interface`) or our own queue (`queue`)",
);

/// All of them but for signals, of which each is one: [`Metric::of_signal`].
pub const METRICS: [Metric; 9] = [PORTS, ANSWERS, FAILED, DELAYED, RETRANSMITTED, UNANSWERED, PACKETS, BYTES, DROPPED];

impl Metric {
    /// A signal as a metric. Those of single paths are none: pairs of addresses would be series without end.
    pub fn of_signal(signal: &Signal) -> Option<Self> {
        let attributes: &[&str] = match signal.scope {
            Scope::Node | Scope::Cpus => &[NODE],
            Scope::Interface | Scope::Listener => &[NODE, SIGNAL_ITEM],
            Scope::Path => return None,
        };
        let unit = match signal.unit {
            "bytes" => Cow::Borrowed("By"),
            "µs" => Cow::Borrowed("us"),
            "%" => Cow::Borrowed("%"),
            many => Cow::Owned(format!("{{{}}}", singular(many))),
        };
        Some(Self {
            name: format!("nodewatch.signal.{}", signal.name).into(),
            instrument: if signal.kind == Kind::Counter { Instrument::Counter } else { Instrument::Gauge },
            unit,
            attributes,
            meaning: signal.meaning.trim_end_matches('.'),
        })
    }
}

/// UCUM's annotations name one.
fn singular(many: &str) -> String {
    match many.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => many.strip_suffix('s').unwrap_or(many).to_owned(),
    }
}

/// One number of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// What it is about.
    pub attributes: Vec<(&'static str, String)>,
    /// The number.
    pub value: u64,
    /// Of a counter, since when it counts, by the clock on the laptop's wall.
    pub since: Option<UnixMillis>,
}

/// A metric with its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// What is measured.
    pub metric: Metric,
    /// Numbers that are known now.
    pub points: Vec<Point>,
}

/// All that is known at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// When, by the clock on the laptop's wall.
    pub at: UnixMillis,
    /// Metrics of which something is known.
    pub series: Vec<Series>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nodewatch_signals::SIGNALS;

    use super::*;

    #[test]
    fn names_are_unique_and_units_are_those_of_ucum() {
        let all: Vec<Metric> = METRICS.into_iter().chain(SIGNALS.iter().filter_map(Metric::of_signal)).collect();
        let names: BTreeSet<&str> = all.iter().map(|metric| &*metric.name).collect();
        assert_eq!(names.len(), all.len());
        for Metric { name, unit, .. } in &all {
            let inside = unit.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let word =
                inside.is_some_and(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()));
            assert!(word || ["By", "us", "%"].contains(&&**unit), "{name}: {unit}");
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte);
            assert!(name.starts_with("nodewatch.") && name.bytes().all(plain), "{name}");
        }
        assert_eq!((singular("queries"), singular("lookups")), ("query".to_owned(), "lookup".to_owned()));
    }
}
