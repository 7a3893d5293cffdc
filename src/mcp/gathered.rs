//! What a command prints, as a model is told of it: records without packets, seconds added up.
//!
//! Owns what of each kind is kept. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::headless::records::TIMES;

/// More are counted and not kept.
const MOST_RECORDS: usize = 5000;

/// Of results that are no records so much is kept.
const MOST_TEXT: usize = 1 << 20;

/// Kinds in the order in which a model needs them; others come last, as they were printed.
const ORDER: [&str; 6] = ["answer", "looked", "summary", "watched", "signal", "pair"];

/// Fields that are no answers: packets, and what is long and can be asked for otherwise.
const NOT_TOLD: [&str; 3] = ["schema", "samples", "labels"];

/// Records so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    records: Vec<Value>,
    watched: BTreeMap<String, Watched>,
    left_out: u64,
    text: String,
}

/// Seconds of a node, added up.
#[derive(Debug, Default)]
struct Watched {
    millis: u64,
    sums: BTreeMap<String, u64>,
    symptoms: BTreeMap<String, u64>,
    unseen: Value,
}

impl Gathered {
    /// Takes a line of results.
    pub(super) fn take(&mut self, line: &[u8]) {
        let Ok(Value::Object(record)) = serde_json::from_slice(line) else { return self.note(line) };
        let kind = record.get("kind").and_then(Value::as_str).unwrap_or_default();
        // A pair on which nothing was noticed is no answer.
        let quiet = kind == "pair" && record.get("symptoms").and_then(Value::as_object).is_none_or(Map::is_empty);
        match kind {
            "watch" => self.watch(&record),
            _ if quiet || self.records.len() >= MOST_RECORDS => self.left_out += 1,
            _ => self.records.push(told(record)),
        }
    }

    /// A line that is no record.
    fn note(&mut self, line: &[u8]) {
        if self.text.len() < MOST_TEXT {
            self.text.push_str(&String::from_utf8_lossy(line));
            self.text.push('\n');
        }
    }

    fn watch(&mut self, record: &Map<String, Value>) {
        let node = record.get("node").and_then(Value::as_str).unwrap_or_default();
        // Its packets are among those of the node's other line.
        if record.get("captured").and_then(Value::as_bool) == Some(true) {
            return;
        }
        if self.watched.len() >= MOST_RECORDS && !self.watched.contains_key(node) {
            self.left_out += 1;
            return;
        }
        let watched = self.watched.entry(node.to_owned()).or_default();
        watched.millis += record.get("millis").and_then(Value::as_u64).unwrap_or(0);
        let numbers = record.get("sums").and_then(Value::as_object).into_iter().flatten();
        for (name, amount) in numbers {
            let sum = watched.sums.entry(name.clone()).or_default();
            *sum = sum.saturating_add(amount.as_u64().unwrap_or(0));
        }
        let pairs = record.get("pairs").and_then(Value::as_array).into_iter().flatten();
        for (name, ways) in pairs.filter_map(|pair| pair["symptoms"].as_object()).flatten() {
            let both = ways["there"].as_u64().unwrap_or(0).saturating_add(ways["back"].as_u64().unwrap_or(0));
            let sum = watched.symptoms.entry(name.clone()).or_default();
            *sum = sum.saturating_add(both);
        }
        watched.unseen = record.get("unseen_millis").cloned().unwrap_or_default();
    }

    /// What is told, those first that matter most, and how many more there were.
    pub(super) fn told(self) -> (Vec<Value>, u64) {
        let watched = self.watched.into_iter().map(|(node, watched)| {
            json!({
                "kind": "watched", "node": node, "seconds": watched.millis / 1000, "sums": watched.sums,
                "symptoms": watched.symptoms, "unseen_millis": watched.unseen,
            })
        });
        let mut records: Vec<Value> = self.records.into_iter().chain(watched).collect();
        let rank = |record: &Value| ORDER.iter().position(|kind| record["kind"] == **kind).unwrap_or(ORDER.len());
        let failed = |record: &Value| record["failed"].as_u64().unwrap_or(0);
        records.sort_by(|a, b| {
            let pairs = a["kind"] == "pair" && b["kind"] == "pair";
            let worse = if pairs { failed(b).cmp(&failed(a)) } else { std::cmp::Ordering::Equal };
            rank(a).cmp(&rank(b)).then(worse)
        });
        (records, self.left_out)
    }

    /// The records as they were printed, but for what is not told.
    pub(super) fn records(&self) -> &[Value] {
        &self.records
    }

    /// Results that are no records.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// A record without what is not told, and with each moment once, as a text.
fn told(record: Map<String, Value>) -> Value {
    let fields = record.into_iter().filter(|(name, _)| !NOT_TOLD.contains(&name.as_str()));
    let fields = fields.map(|(name, value)| {
        let value = match value {
            Value::Array(items) => items.into_iter().map(timed_once).collect(),
            other => timed_once(other),
        };
        (name, value)
    });
    timed_once(Value::Object(fields.collect()))
}

fn timed_once(value: Value) -> Value {
    let Value::Object(mut fields) = value else { return value };
    for name in TIMES.iter().filter(|name| fields.contains_key(&format!("{name}_time"))).collect::<Vec<_>>() {
        fields.remove(*name);
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(lines: &[Value]) -> (Vec<Value>, u64) {
        let mut gathered = Gathered::default();
        for line in lines {
            gathered.take(line.to_string().as_bytes());
        }
        gathered.take(b"no JSON");
        gathered.told()
    }

    #[test]
    fn answers_come_first_and_packets_not_at_all() {
        let pair = |failed: u64| {
            json!({"kind": "pair", "schema": 1, "failed": failed, "symptoms": {"delayed": {"there": 1, "back": 0}},
                "samples": [{"packet": "IP secret"}]})
        };
        let quiet = json!({"kind": "pair", "failed": 0, "symptoms": {}});
        let answer =
            json!({"kind": "answer", "since": 5, "since_time": "1970-01-01T00:00:00.005Z", "proof": [{"time": "x"}]});
        let (told, left_out) = gathered(&[pair(1), quiet, pair(9), answer]);
        assert_eq!(left_out, 1);
        let kinds: Vec<(&str, u64)> = told
            .iter()
            .map(|it| (it["kind"].as_str().unwrap_or_default(), it["failed"].as_u64().unwrap_or_default()))
            .collect();
        assert_eq!(kinds, [("answer", 0), ("pair", 9), ("pair", 1)]);
        assert!(told[0].get("since").is_none() && told[0]["since_time"] == "1970-01-01T00:00:00.005Z");
        assert!(!json!(told).to_string().contains("secret"));
    }

    #[test]
    fn seconds_of_a_node_are_added_up() {
        let second = |failed: u64, captured: bool| {
            json!({"kind": "watch", "node": "a", "millis": 1000, "captured": captured, "sums": {"failed": failed},
                "pairs": [{"symptoms": {"refused": {"there": failed, "back": 1}}}], "unseen_millis": {"dropped": 4}})
        };
        let (told, _) = gathered(&[second(1, false), second(2, false), second(50, true)]);
        let wanted = json!([{"kind": "watched", "node": "a", "seconds": 2, "sums": {"failed": 3},
            "symptoms": {"refused": 5}, "unseen_millis": {"dropped": 4}}]);
        assert_eq!(json!(told), wanted);
    }

    #[test]
    fn moments_of_parts_are_told_once_too() {
        let report = json!({"kind": "port_report", "at": 1, "at_time": "x",
            "ports": [{"port": 22, "first_seen": 1, "first_seen_time": "y"}]});
        // What a report calls ports is no list of pairs.
        let (told, _) = gathered(&[report]);
        assert_eq!(told[0]["ports"], json!([{"port": 22, "first_seen_time": "y"}]));
    }
}
