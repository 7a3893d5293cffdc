//! One report of one node: what is in it, and its events, JSON objects the first of which carries the report's own metrics.
//!
//! Owns what a report lists, leaves out and counts, for both programs; the events' form, and how a report that is too large for one is spread over several. The form of `_aws` is that of the
//! CloudWatch embedded metric format specification. Pure.

use std::{borrow::Cow, collections::BTreeSet};

use nodewatch_ports::{Expected, ListedPortFields, PortClass, PortKey, contains};
use nodewatch_protocol::{Port, ReportPlan, UnixMillis};
use serde_json::{Value, json};

use crate::{limits::MAX_EVENT_BYTES, schedule::Occasion, seen::Seen};

/// The metrics' namespace.
pub const NAMESPACE: &str = "nodewatch";
/// The metrics of every report, but for `UnexpectedPorts` where nobody knows what to expect.
pub const METRICS: [&str; 5] = ["OpenPorts", "HasOpenPorts", "UnexpectedPorts", "AgentErrors", "Heartbeat"];

/// One port of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedPort {
    /// The port.
    pub port: Port,
    /// When it was first seen open.
    pub first_seen: UnixMillis,
    /// Whether it should be there.
    pub class: PortClass,
}

/// What one node's ports are at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report<'a> {
    /// When.
    pub at: UnixMillis,
    /// The node's name.
    pub hostname: &'a str,
    /// The cluster's; empty where there is none.
    pub cluster: &'a str,
    /// Whose report it is; empty where no session has asked for it.
    pub session: &'a str,
    /// Grows by one with each report of this node, as long as the same reporter makes them. A session at a laptop begins with 0. An
    /// agent that reports by itself begins with the milliseconds since the Unix epoch at which it did, as it may be restarted and
    /// must not take a number again. So with the node, the session and the time it tells any two reports apart, and which of
    /// two by one reporter is the later; what lies between the numbers of two reporters means nothing.
    pub sequence: u64,
    /// The open ports that are listed.
    pub ports: Vec<ReportedPort>,
    /// How many more are open and left out on purpose.
    pub excluded: usize,
    /// How many of the listed ones are [alarming](PortClass::is_alarming); `None` where nobody knows what to expect.
    pub unexpected: Option<usize>,
    /// What failed on the node since the last report.
    pub agent_errors: u64,
    /// What else happened there since then.
    pub seen: Seen,
}

/// A report as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its time.
    pub at: UnixMillis,
    /// One line of JSON each; together they are the report. There is one at least.
    pub parts: Vec<String>,
}

/// Which part of a report an event is; `None` where it is the whole.
type Part = Option<(usize, usize)>;

/// What the numbers of a part may take of its room.
const NUMBERS: usize = 64;

impl<'a> Report<'a> {
    /// The report of a plan: of the ports that are open, in order, with when each was first seen.
    pub fn of(plan: &'a ReportPlan, open: impl IntoIterator<Item = (Port, UnixMillis)>, occasion: Occasion) -> Self {
        let expected = Expected::told(&plan.hostname, plan.expectations.as_ref());
        let mut excluded = 0;
        let mut ports = Vec::new();
        for (port, first_seen) in open {
            if contains(&plan.excluded, &port) {
                excluded += 1;
            } else {
                ports.push(ReportedPort { port, first_seen, class: expected.judge(&port).class });
            }
        }
        let alarming = |one: &&ReportedPort| one.class.is_alarming(one.port.scope());
        Self {
            at: occasion.at,
            hostname: &plan.hostname,
            cluster: &plan.cluster,
            session: &plan.session,
            sequence: occasion.sequence,
            unexpected: plan.expectations.as_ref().map(|_| ports.iter().filter(alarming).count()),
            ports,
            excluded,
            agent_errors: occasion.agent_errors,
            seen: Seen::default(),
        }
    }

    /// With what else happened on the node since the last report.
    #[must_use]
    pub fn with(self, seen: Seen) -> Self {
        Self { seen, ..self }
    }

    /// The events. All of a report's have its time, session and sequence; metrics are in the first alone, so that they count once.
    pub fn event(&self) -> Event {
        // Nearly every report fits into one: what its ports take is not looked at before that is known.
        let whole = self.message(&self.ports, None);
        if whole.len() <= MAX_EVENT_BYTES {
            return Event { at: self.at, parts: vec![whole] };
        }
        let chunks = self.chunks();
        let parts = chunks.iter().enumerate();
        let parts = parts.map(|(index, ports)| self.message(ports, Some((index + 1, chunks.len()))));
        Event { at: self.at, parts: parts.collect() }
    }

    /// The ports of each part: as many as fit, in their order.
    fn chunks(&self) -> Vec<&[ReportedPort]> {
        let room = |part: usize| MAX_EVENT_BYTES.saturating_sub(self.message(&[], Some((part, part))).len() + NUMBERS);
        let rooms = [room(1), room(2)];
        let mut chunks = Vec::new();
        let mut begin = 0;
        let mut used = 0;
        let mut keys = BTreeSet::new();
        for (index, port) in self.ports.iter().enumerate() {
            let text = PortKey::from(port.port).to_string();
            let listed = self.port(port).to_string().len() + 1;
            let size = |keys: &BTreeSet<String>| listed + if keys.contains(&text) { 0 } else { text.len() + 1 };
            if used + size(&keys) > rooms[usize::from(!chunks.is_empty())] && index > begin {
                chunks.push(&self.ports[begin..index]);
                (begin, used) = (index, 0);
                keys.clear();
            }
            used += size(&keys);
            keys.insert(text);
        }
        chunks.push(&self.ports[begin..]);
        chunks
    }

    fn port(&self, reported: &ReportedPort) -> Value {
        let mut value = json!(ListedPortFields::new(&reported.port, reported.class, reported.first_seen, self.at));
        if let Some(fields) = value.as_object_mut() {
            // What goes without saying would be a part of every event.
            fields.retain(|_, value| !value.is_null() && *value != false);
        }
        value
    }

    fn message(&self, ports: &[ReportedPort], part: Part) -> String {
        let mut value = json!({
            "hostname": self.hostname, "session": self.session, "sequence": self.sequence,
            "ports": ports.iter().map(|port| self.port(port)).collect::<Vec<_>>(),
        });
        if part.is_none_or(|(number, _)| number == 1) {
            self.add_metrics(&mut value);
        }
        // For filters on the server: `{ $.keys = "* 22/tcp *" }` finds every event with that port.
        let keys: BTreeSet<String> = ports.iter().map(|port| PortKey::from(port.port).to_string()).collect();
        let keys: Vec<String> = keys.into_iter().collect();
        value["keys"] = json!(format!(" {} ", keys.join(" ")));
        if !self.cluster.is_empty() {
            value["cluster"] = json!(self.cluster);
        }
        if let Some((number, of)) = part {
            value["at"] = json!(self.at);
            value["part"] = json!(number);
            value["parts"] = json!(of);
        }
        value.to_string()
    }

    fn add_metrics(&self, value: &mut Value) {
        let metrics: Vec<Value> = METRICS
            .iter()
            .filter(|&&name| name != "UnexpectedPorts" || self.unexpected.is_some())
            .map(|name| Cow::Borrowed(*name))
            .chain(self.seen.metrics().map(|(name, _)| name))
            .map(|name| json!({"Name": name, "Unit": "Count"}))
            .collect();
        // The node's own metrics, and the whole cluster's, for an alarm that need not name every node.
        let dimensions =
            if self.cluster.is_empty() { json!([["hostname"]]) } else { json!([["cluster", "hostname"], ["cluster"]]) };
        value["_aws"] = json!({
            "Timestamp": self.at,
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics}],
        });
        value["OpenPorts"] = json!(self.ports.len());
        value["HasOpenPorts"] = json!(u8::from(!self.ports.is_empty()));
        value["AgentErrors"] = json!(self.agent_errors);
        value["Heartbeat"] = json!(1);
        value["excluded"] = json!(self.excluded);
        if let Some(unexpected) = self.unexpected {
            value["UnexpectedPorts"] = json!(unexpected);
        }
        for (name, count) in self.seen.metrics() {
            value[name.as_ref()] = json!(count);
        }
        if !self.seen.answers.is_empty() {
            value["answers"] = json!(self.seen.answers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report<'a>(ports: &[&str], unexpected: Option<usize>) -> Report<'a> {
        let ports = ports.iter().map(|port| ReportedPort {
            port: port.parse().expect("a port"),
            first_seen: 5,
            class: PortClass::Expected,
        });
        Report {
            at: 1_700_000_000_000,
            hostname: "node-1",
            cluster: "prod",
            session: "7f3a91c2",
            sequence: 3,
            ports: ports.collect(),
            excluded: 2,
            unexpected,
            agent_errors: 0,
            seen: Seen::default(),
        }
    }

    fn read(report: &Report<'_>) -> Value {
        let event = report.event();
        assert_eq!(event.parts.len(), 1);
        serde_json::from_str(&event.parts[0]).expect("JSON")
    }

    #[test]
    fn every_metric_that_is_named_is_in_the_event_as_a_number_and_every_dimension_as_a_text() {
        let seen = Seen {
            watched: Some(crate::Watched { failed: 4, ..crate::Watched::default() }),
            moved: [("ConntrackDrop".to_owned(), 7)].into(),
            answers: vec![crate::Answered { code: "N-11", failed: 9, text: "9 of 12".to_owned() }],
        };
        let watched = report(&[], None).with(seen);
        assert_eq!((&read(&watched)["FailedAttempts"], &read(&watched)["ConntrackDrop"]), (&json!(4), &json!(7)));
        assert_eq!(read(&watched)["AnswerN11"], json!(9));
        assert_eq!(read(&watched)["answers"], json!([{"code": "N-11", "failed": 9, "text": "9 of 12"}]));
        for report in [report(&["tcp 0.0.0.0:22", "udp6 [::1]:53"], Some(1)), report(&[], None), watched] {
            let event = read(&report);
            let directive = &event["_aws"]["CloudWatchMetrics"][0];
            for metric in directive["Metrics"].as_array().expect("metrics") {
                let name = metric["Name"].as_str().expect("a name");
                assert!(event[name].is_u64(), "{name}: {event}");
            }
            for set in directive["Dimensions"].as_array().expect("dimensions") {
                for name in set.as_array().expect("names") {
                    assert!(event[name.as_str().expect("a name")].is_string(), "{event}");
                }
            }
            assert_eq!(event["_aws"]["Timestamp"], 1_700_000_000_000_u64);
        }
    }

    #[test]
    fn counts_are_of_what_is_listed_and_what_is_left_out_is_counted() {
        let event = read(&report(&["tcp 0.0.0.0:22", "udp6 [::1]:53"], Some(1)));
        assert_eq!(
            (&event["OpenPorts"], &event["HasOpenPorts"], &event["excluded"]),
            (&json!(2), &json!(1), &json!(2))
        );
        assert_eq!(event["ports"][0]["scope"], "all");
        assert_eq!(
            event["ports"][1],
            json!({"protocol": "udp6", "address": "::1", "port": 53, "scope": "loopback",
            "first_seen": 5, "last_seen": 1_700_000_000_000_u64, "class": "expected"})
        );
        assert_eq!(event["keys"], " 22/tcp 53/udp ");
        // What tells two ports on one number apart.
        let event = read(&report(&["tcp 0.0.0.0%eth0:80", "tcp6 [::]:80", "tcp6 *:81"], None));
        let told = |index: usize| (event["ports"][index].get("device"), event["ports"][index].get("v6only"));
        assert_eq!(told(0), (Some(&json!("eth0")), None));
        assert_eq!((told(1), told(2)), ((None, Some(&json!(true))), (None, None)));
        let none = read(&report(&[], None));
        assert_eq!((&none["HasOpenPorts"], none.get("UnexpectedPorts")), (&json!(0), None));
    }

    #[test]
    fn a_list_that_is_too_long_for_an_event_goes_in_parts_that_are_the_list_together() {
        for (count, wanted) in [(2_100_u32, 1), (20_000, 3), (120_000, 17)] {
            // As long as addresses are: TCP and UDP on every number, on two of them.
            let texts = (0..count).map(|number| {
                let address = if number >= 60_000 { "[fd00:1111:2222:3333:4444:5555:6666:7777]" } else { "[fd00::1]" };
                format!("udp6 {address}:{}", number % 60_000 + 1)
            });
            let texts: Vec<String> = texts.collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let report = report(&texts, Some(7));
            let event = report.event();
            let parts: Vec<Value> = event.parts.iter().map(|part| serde_json::from_str(part).expect("JSON")).collect();
            assert!(parts.len().abs_diff(wanted) <= 2, "{count} ports are {} parts", parts.len());
            let mut listed = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                assert!(event.parts[index].len() <= MAX_EVENT_BYTES, "{}", event.parts[index].len());
                assert_eq!((&part["sequence"], &part["session"]), (&json!(3), &json!("7f3a91c2")));
                let keys: BTreeSet<&str> = part["keys"].as_str().expect("keys").split_whitespace().collect();
                let ports = part["ports"].as_array().expect("ports");
                let own: BTreeSet<String> = ports.iter().map(|port| format!("{}/udp", port["port"])).collect();
                assert_eq!(keys, own.iter().map(String::as_str).collect(), "a part has the keys of its own ports");
                listed.extend(
                    ports.iter().map(|port| {
                        format!("udp6 [{}]:{}", port["address"].as_str().expect("an address"), port["port"])
                    }),
                );
                if parts.len() > 1 {
                    assert_eq!((&part["part"], &part["parts"]), (&json!(index + 1), &json!(parts.len())));
                    assert_eq!(part["at"], report.at);
                }
            }
            assert_eq!(listed, texts, "every port once and in order");
            let counted: Vec<&Value> = parts.iter().filter(|part| part.get("_aws").is_some()).collect();
            assert_eq!(counted.len(), 1, "metrics count once");
            assert_eq!((&counted[0]["OpenPorts"], &counted[0]["UnexpectedPorts"]), (&json!(count), &json!(7)));
            let beats = parts.iter().filter(|part| METRICS.iter().any(|name| part.get(*name).is_some()));
            assert_eq!(beats.count(), 1, "for metric filters too");
        }
    }
}
