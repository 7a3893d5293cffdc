//! One report of one node as an event: a JSON object that carries its own metrics.
//!
//! Owns the event's form. The form of `_aws` is that of the CloudWatch embedded metric format specification. Pure.

use nodewatch_protocol::{Port, UnixMillis};
use serde_json::{Value, json};

use crate::queue::MAX_EVENT_BYTES;

/// The metrics' namespace.
pub const NAMESPACE: &str = "nodewatch";
/// The metrics of every report, but for `UnexpectedPorts` where nobody knows what to expect.
pub const METRICS: [&str; 5] = ["OpenPorts", "HasOpenPorts", "UnexpectedPorts", "AgentErrors", "Heartbeat"];

/// One port of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedPort<'a> {
    /// The port.
    pub port: Port,
    /// When it was first seen open.
    pub first_seen: UnixMillis,
    /// Whether it should be there, in a word; empty where nobody knows.
    pub class: &'a str,
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
    /// Whose report it is: with `sequence` it tells any two events apart.
    pub session: &'a str,
    /// Counts a reporter's reports of this node.
    pub sequence: u64,
    /// The open ports that are listed.
    pub ports: Vec<ReportedPort<'a>>,
    /// How many more are open and left out on purpose.
    pub excluded: usize,
    /// How many of the listed ones nobody expects; `None` where nobody knows what to expect.
    pub unexpected: Option<usize>,
    /// What failed on the node since the last report.
    pub agent_errors: u64,
}

/// A report as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its time.
    pub at: UnixMillis,
    /// One line of JSON.
    pub message: String,
}

impl Report<'_> {
    /// The event. Ports beyond what CloudWatch Logs takes in one event are counted in `ports_omitted`.
    pub fn event(&self) -> Event {
        let mut ports: Vec<Value> = self.ports.iter().map(|port| self.port(port)).collect();
        let mut message = self.message(&ports, 0);
        while message.len() > MAX_EVENT_BYTES && !ports.is_empty() {
            // What is too much is most of it at once: a list is shortened in a few rounds.
            let share = MAX_EVENT_BYTES as f64 / message.len() as f64;
            let keep = ((ports.len() as f64 * share) as usize).min(ports.len() - 1);
            ports.truncate(keep);
            message = self.message(&ports, self.ports.len() - keep);
        }
        Event { at: self.at, message }
    }

    fn port(&self, reported: &ReportedPort<'_>) -> Value {
        let port = reported.port;
        let mut value = json!({
            "protocol": port.protocol_name(), "address": port.local.ip(), "port": port.local.port(),
            "scope": port.scope().word(), "first_seen": reported.first_seen, "last_seen": self.at,
        });
        if !reported.class.is_empty() {
            value["class"] = json!(reported.class);
        }
        value
    }

    fn message(&self, ports: &[Value], omitted: usize) -> String {
        let metrics: Vec<Value> = METRICS
            .iter()
            .filter(|&&name| name != "UnexpectedPorts" || self.unexpected.is_some())
            .map(|name| json!({"Name": name, "Unit": "Count"}))
            .collect();
        // The node's own metrics, and the whole cluster's, for an alarm that need not name every node.
        let dimensions =
            if self.cluster.is_empty() { json!([["hostname"]]) } else { json!([["cluster", "hostname"], ["cluster"]]) };
        let mut value = json!({
            "_aws": {
                "Timestamp": self.at,
                "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics}],
            },
            "hostname": self.hostname, "session": self.session, "sequence": self.sequence,
            "OpenPorts": self.ports.len(), "HasOpenPorts": u8::from(!self.ports.is_empty()),
            "AgentErrors": self.agent_errors, "Heartbeat": 1, "excluded": self.excluded, "ports": ports,
        });
        // For filters on the server: `{ $.keys = "* 22/tcp *" }` finds every report with that port.
        let mut keys: Vec<String> = self.ports.iter().map(|port| key(port.port)).collect();
        keys.sort();
        keys.dedup();
        value["keys"] = json!(format!(" {} ", keys.join(" ")));
        if !self.cluster.is_empty() {
            value["cluster"] = json!(self.cluster);
        }
        if let Some(unexpected) = self.unexpected {
            value["UnexpectedPorts"] = json!(unexpected);
        }
        if omitted > 0 {
            value["ports_omitted"] = json!(omitted);
        }
        value.to_string()
    }
}

/// As in `22/tcp`.
fn key(port: Port) -> String {
    format!("{}/{}", port.local.port(), port.protocol_name().trim_end_matches('6'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report<'a>(ports: &[&str], unexpected: Option<usize>) -> Report<'a> {
        let ports = ports.iter().map(|port| ReportedPort {
            port: port.parse().expect("a port"),
            first_seen: 5,
            class: "expected",
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
        }
    }

    fn read(report: &Report<'_>) -> Value {
        serde_json::from_str(&report.event().message).expect("JSON")
    }

    #[test]
    fn every_metric_that_is_named_is_in_the_event_as_a_number_and_every_dimension_as_a_text() {
        for report in [report(&["tcp 0.0.0.0:22", "udp6 [::1]:53"], Some(1)), report(&[], None)] {
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
        let none = read(&report(&[], None));
        assert_eq!((&none["HasOpenPorts"], none.get("UnexpectedPorts")), (&json!(0), None));
    }

    #[test]
    fn a_list_that_is_too_long_for_an_event_is_cut_and_counted() {
        let texts: Vec<String> = (1..=6000).map(|port| format!("tcp 127.100.100.100:{port}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let event = report(&texts, None).event();
        assert!(event.message.len() <= MAX_EVENT_BYTES, "{}", event.message.len());
        let event: Value = serde_json::from_str(&event.message).expect("JSON");
        let listed = event["ports"].as_array().expect("ports").len();
        assert!(listed > 1000, "most of what fits is there: {listed}");
        assert_eq!(event["ports_omitted"], 6000 - listed);
        assert_eq!(event["OpenPorts"], 6000);
    }
}
