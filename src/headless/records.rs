//! What `-o json` and `-o yaml` print: the kinds of records, and the fields of each.
//!
//! Owns the words, which are a contract: docs/reference.md is made of them, and tests hold what is printed to them.

mod of_answers;

use serde_json::Value;

pub use of_answers::{ANSWER, LOOKED};

/// The form of all records. A field that goes or means something else makes a new one; a field that comes does not.
pub const SCHEMA: u32 = 1;

/// A kind of record: what one line says.
#[derive(Debug)]
pub struct Record {
    /// The value of its field `kind`.
    pub kind: &'static str,
    /// The commands that print it.
    pub commands: &'static str,
    /// What there is one of.
    pub one: &'static str,
    /// What `-o name` prints of it; empty where it prints nothing.
    pub name: &'static str,
    /// Its fields, beside `kind` and `schema`, each with what it says; empty where its name says it.
    pub fields: &'static [(&'static str, &'static str)],
}

/// Moments in milliseconds since 1970, each of which has its RFC 3339 text beside it, under its name and `_time`.
pub const TIMES: [&str; 9] = ["at", "from", "since", "began", "ends", "created", "first_seen", "last_seen", "until"];

/// A part of records: its name, and its fields.
pub type Part = (&'static str, &'static [(&'static str, &'static str)]);

/// What stands in records under these names, as an object or a list of objects.
pub const PARTS: [Part; 7] = [
    (
        "ports",
        &[
            ("protocol", "`tcp`, `tcp6`, `udp`, `udp6` and so on"),
            ("address", ""),
            ("device", ""),
            ("v6only", ""),
            ("port", "in past reports as in `22/tcp`"),
            ("scope", "`loopback`, `node` or `all`"),
            ("first_seen", ""),
            ("last_seen", ""),
            ("class", "`expected`, `by_rules`, `unexpected` or `dead`"),
            ("why", ""),
            ("owner", ""),
        ],
    ),
    ("without_socket", &[("protocol", ""), ("port", ""), ("class", ""), ("why", "")]),
    (
        "failures",
        &[
            ("outcome", "`refused`, `no_answer`, `unreachable` or `not_tried`"),
            ("count", "of so many tries"),
            ("by", "the address that says so; `null` where nobody else does"),
            ("reason", ""),
        ],
    ),
    ("dropped", &[("kernel", ""), ("interface", ""), ("queue", "")]),
    ("object", &[("kind", ""), ("namespace", ""), ("name", ""), ("uid", ""), ("purpose", "")]),
    (
        "objects",
        &[
            ("kind", ""),
            ("namespace", ""),
            ("name", ""),
            ("uid", ""),
            ("purpose", ""),
            ("state", "what the server says"),
        ],
    ),
    (
        "sections",
        &[
            ("what_it_means", ""),
            ("how_it_is_decided", ""),
            ("what_looks_like_it", ""),
            ("prove_it_by_hand", ""),
            ("fix_it", ""),
        ],
    ),
];

/// A node of the list.
pub const NODE: Record = Record {
    kind: "node",
    commands: "nodes",
    one: "node",
    name: "node/NAME",
    fields: &[
        ("name", ""),
        ("status", "`Ready`, `NotReady` or `Unknown`"),
        ("cordoned", ""),
        ("roles", "a list"),
        ("created", ""),
        ("zone", ""),
        ("type", ""),
        ("internal_ip", "the first of `addresses`"),
        ("addresses", "a list, internal ones first"),
        ("version", "of the kubelet"),
        ("instance_id", "of EC2"),
        ("os", ""),
        ("architecture", ""),
        ("labels", "all of them"),
        ("no_agent", "why no agent can run there"),
    ],
};

/// All open ports of a node.
pub const PORT_REPORT: Record = Record {
    kind: "port_report",
    commands: "ports",
    one: "node and report",
    name: "NODE PORT/PROTOCOL, one line per port",
    fields: &[
        ("node", ""),
        ("at", ""),
        ("ports", "see below"),
        ("without_socket", "see below"),
        ("excluded", "a count"),
        ("gaps", "what is unknown"),
    ],
};

/// A port that was opened or closed.
pub const PORT_CHANGE: Record = Record {
    kind: "port_change",
    commands: "ports --watch",
    one: "change, between the reports",
    name: "as above",
    fields: &[
        ("event", "`opened` or `closed`"),
        ("node", ""),
        ("at", ""),
        ("protocol", ""),
        ("address", ""),
        ("device", ""),
        ("v6only", ""),
        ("port", ""),
    ],
};

/// Results that a slow reader missed.
pub const LEFT_OUT: Record = Record {
    kind: "left_out",
    commands: "ports --watch, watch",
    one: "gap in the results, for a slow reader",
    name: "",
    fields: &[("event", "`left_out`"), ("results", "how many")],
};

/// A time in which nobody looked.
pub const GAP: Record = Record {
    kind: "gap",
    commands: "ports --watch, watch",
    one: "time in which a node was not watched: its agent was replaced, or is away at the end",
    name: "",
    fields: &[("event", "`gap`"), ("node", ""), ("from", ""), ("until", ""), ("reason", "")],
};

/// A difference from a baseline.
pub const PORT_DRIFT: Record = Record {
    kind: "port_drift",
    commands: "ports --baseline",
    one: "difference, after the report",
    name: "NODE PORT/PROTOCOL",
    fields: &[
        ("node", ""),
        ("drift", "`new`, `gone` or `changed`"),
        ("port", "as in `22/tcp`"),
        ("before", ""),
        ("now", ""),
    ],
};

/// A report that CloudWatch Logs has.
pub const PAST_PORT_REPORT: Record = Record {
    kind: "past_port_report",
    commands: "ports --since",
    one: "past report",
    name: "NODE",
    fields: &[
        ("at", ""),
        ("node", ""),
        ("ports", "each with `port` and, where known, `class`"),
        ("excluded", "a count"),
        ("unexpected", "a count"),
        ("incomplete", "why"),
    ],
};

/// A capture file.
pub const CAPTURE_FILE: Record = Record {
    kind: "capture_file",
    commands: "capture, freeze",
    one: "capture file",
    name: "its path; where it is not here, its key in S3 or its name",
    fields: &[
        ("node", ""),
        ("file", "its name on the node"),
        ("path", "here"),
        ("bytes", ""),
        ("packets", ""),
        ("sha256", ""),
        ("dropped", "see below"),
        ("delivered", "its key in S3"),
        ("compared", "whether S3 compared its checksum"),
        ("incomplete", "why; `null` if complete"),
        ("reason", "why it is not where it should be"),
        ("place", "only `freeze`: the path, or where else in words"),
    ],
};

/// What was merged.
pub const MERGED_FILE: Record = Record {
    kind: "merged_file",
    commands: "merge",
    one: "new file",
    name: "its path",
    fields: &[
        ("path", ""),
        ("files", "how many were merged"),
        ("packets", ""),
        ("cut", "packets outside the window"),
        ("identical", "packets of overlapping files, written once"),
        ("filter", "a display filter that shows one side"),
        (
            "paired",
            "with `--pair`, what became of packets: `pairs`, `one_side`, `segments`, `left_out`, `one_node`, `outside`, `not_compared`, `clocks`",
        ),
        ("bytes", ""),
        ("warnings", ""),
        ("passed_over", "files that are no captures"),
        ("named_again", "files that were named more than once"),
    ],
};

/// A packet that one node alone captured.
pub const ONE_SIDE: Record = Record {
    kind: "one_side",
    commands: "merge --pair",
    one: "packet that one node alone captured",
    name: "",
    fields: &[
        ("time", "RFC 3339"),
        ("node", ""),
        ("not_on", "the nodes that captured then and did not see it"),
        ("packet", "as tcpdump prints it"),
        ("part", "what the others captured of it"),
    ],
};

/// A conversation that one node alone captured.
pub const ONE_NODE: Record = Record {
    kind: "one_node",
    commands: "merge --pair",
    one: "conversation that one node alone captured",
    name: "",
    fields: &[("node", ""), ("between", "two addresses"), ("packets", "")],
};

/// What is known of a pair of ends.
pub const PAIR: Record = Record {
    kind: "pair",
    commands: "diagnose",
    one: "pair of ends, service and interface",
    name: "SOURCE DESTINATION:PORT/SERVICE",
    fields: &[
        ("source", "who connects or asks"),
        ("destination", ""),
        ("port", ""),
        ("service", "`tcp`, `udp`, `dns`, `neighbour` (ARP and Neighbour Discovery) or `other`"),
        ("interface", "where it was captured; of others' files what is known"),
        ("tunnel", "the one that its packets came in"),
        ("packets", "`there` and `back`"),
        ("bytes", "`there` and `back`, on the wire"),
        ("attempts", "connections begun, or questions"),
        ("answered", ""),
        ("failed", "the sum of those symptoms that are failures"),
        (
            "fates",
            "of `diagnose`: connections by how far they came, as `tcp.completeness` of Wireshark has it: see diagnosis.md",
        ),
        ("lookups", "names looked up, each perhaps with several questions"),
        ("symptoms", "by name, each with `there` and `back`: those that were seen"),
        ("answer", "`count`, `p50_ms` and `p99_ms` from SYN to SYN-ACK, or from question to answer"),
        ("round_trip", "`count`, `p50_ms` and `p99_ms` from data to its acknowledgment, by TCP timestamps"),
        ("stalled_ms", "`there` and `back`: how long windows were closed"),
        ("idle_ms", "the longest silence before a failure"),
        ("path_mtu", "the least that a router has said"),
        ("told_by", "who sent the last ICMP error"),
        ("reset_ttl", "of the last RST"),
        ("samples", "up to three packets a symptom: `symptom`, `time`, and `packet` as tcpdump prints it"),
    ],
};

/// What was seen on a node in a second.
pub const WATCH: Record = Record {
    kind: "watch",
    commands: "watch",
    one: "node and second; two, where it is captured too",
    name: "NODE SOURCE DESTINATION:PORT/SERVICE, of those on which something failed",
    fields: &[
        ("node", ""),
        ("at", "when the second ended, by the node's clock"),
        ("millis", "how long it was"),
        ("captured", "of the packets that a capture takes, not of those that are only watched"),
        (
            "interfaces",
            "`name`, `role` (`node`, `pod` or `other`), the second's `packets`, `dropped`, `skipped`, and whether it is \
             `gone` (not there, or down)",
        ),
        ("connections", "that are followed now"),
        (
            "sums",
            "of all pairs, each thing once however many interfaces show it, but for `packets` and `bytes`: `attempts`, \
             `answered`, `lookups`, `failed`, `delayed`, `segments`, `retransmitted`, `dns_unanswered`",
        ),
        ("pairs", "a list of what `pair` has, of this second"),
        (
            "unlisted",
            "what is not among the pairs: `pairs`, their `packets`, `failed` and `felt`; `no_room`, `evicted` as in \
             `summary`",
        ),
        ("not_judged", "as in `summary`"),
        (
            "unseen_millis",
            "since it began, the time of which not all was seen: `dropped` (the kernel had no room), `behind` (the analysis \
             was), `gone` (an interface was), `untold` (no tunnel)",
        ),
    ],
};

/// What all packets amount to.
pub const SUMMARY: Record = Record {
    kind: "summary",
    commands: "diagnose",
    one: "run, at the end",
    name: "",
    fields: &[
        ("files", ""),
        ("packets", ""),
        ("connections", ""),
        ("fates", "the same of all connections"),
        ("from", "the first packet"),
        ("until", "the last packet"),
        (
            "tcp",
            "as Wireshark counts them: `retransmissions` (all kinds), `spurious_retransmissions`, `fast_retransmissions`, `out_of_order`, `duplicate_acks`, `zero_windows`, `keep_alives`, `resets`",
        ),
        ("dns", "`questions`, `unanswered`, `servfail`, `nxdomain`"),
        ("pairs", "how many"),
        ("failed", "of all pairs"),
        ("symptoms", "all of them by name, with their counts"),
        ("not_judged", "what was left undecided, by reason: `first_seconds`, `one_direction`, `dropped`, `undecided`"),
        ("dropped_packets", "while capturing, as the files say"),
        ("not_read", "packets that are neither IP nor ARP"),
        ("no_room", "packets of pairs beyond those that are counted one by one"),
        ("evicted", "connections forgotten before they were over"),
        ("forgotten", "attempts and questions forgotten before they were decided"),
        ("identical", "packets of overlapping files, counted once"),
        ("warnings", ""),
    ],
};

/// What the code of an answer means.
pub const EXPLANATION: Record = Record {
    kind: "explanation",
    commands: "explain",
    one: "code",
    name: "its code",
    fields: &[("code", "`N-01` to `N-16`"), ("name", "in a few words"), ("sections", "see below; each is Markdown")],
};

/// What came of trying a port.
pub const PROBE: Record = Record {
    kind: "probe",
    commands: "probe",
    one: "target and node that tried it",
    name: "NODE ADDRESS:PORT, of those that answered every time",
    fields: &[
        ("node", "that tried"),
        ("target", "as it was named"),
        ("address", ""),
        ("port", ""),
        ("protocol", "`tcp` or `udp`"),
        ("at", "when the last try was over"),
        ("tries", "a count"),
        ("answered", "a count"),
        ("microseconds", "until the answer, the median; `null` without one"),
        ("failures", "see below; empty if all were answered"),
    ],
};

/// A session that has left something, or runs.
pub const SESSION: Record = Record {
    kind: "session",
    commands: "sessions",
    one: "session",
    name: "its ID",
    fields: &[
        ("id", ""),
        ("context", "`null` on this machine"),
        ("owner", ""),
        ("began", ""),
        ("ends", ""),
        ("holder", "`running`, `detached`, `abandoned` or `elsewhere`"),
        ("objects", "see below; empty on this machine"),
        ("trouble", "what could not be found out"),
        ("moved", "its cluster has another address or CA"),
        ("folder", "on this machine: where its captures are"),
        ("files", "on this machine: how many"),
        ("bytes", "on this machine"),
    ],
};

/// What became of an object.
pub const REMOVAL: Record = Record {
    kind: "removal",
    commands: "cleanup",
    one: "object",
    name: "KIND/NAME",
    fields: &[
        ("session", ""),
        ("object", "see below"),
        ("outcome", "`removed`, `kept` or `left`"),
        ("reason", ""),
        ("ring", "captures of this machine, in place of `object`"),
    ],
};

/// What would be removed.
pub const PLANNED_REMOVAL: Record = Record {
    kind: "planned_removal",
    commands: "cleanup --dry-run",
    one: "object",
    name: "KIND/NAME",
    fields: &[
        ("session", ""),
        ("context", ""),
        ("action", "`delete`"),
        ("object", "see below"),
        ("state", ""),
        ("ring", "captures of this machine, in place of `object`"),
    ],
};

/// One thing that was looked at.
pub const PREFLIGHT_CHECK: Record = Record {
    kind: "preflight_check",
    commands: "preflight",
    one: "check",
    name: "the check",
    fields: &[
        ("check", ""),
        ("outcome", "`passed`, `unknown`, `warning`, `failed` or `not_permitted`"),
        ("detail", ""),
        ("fix", ""),
    ],
};

/// What came of making alarms.
pub const ALARM_CHANGES: Record = Record {
    kind: "alarm_changes",
    commands: "alarms create",
    one: "call",
    name: "the cluster",
    fields: &[("cluster", ""), ("made", "a count"), ("removed", "a count")],
};

/// An alarm.
pub const ALARM: Record = Record {
    kind: "alarm",
    commands: "alarms list",
    one: "alarm",
    name: "its name",
    fields: &[
        ("name", ""),
        ("session", ""),
        ("alarm", "`silent`, `agent-errors` or `unexpected-ports`"),
        ("node", ""),
        ("state", ""),
    ],
};

/// A setting that is in force.
pub const SETTING: Record = Record {
    kind: "setting",
    commands: "config",
    one: "setting",
    name: "its key",
    fields: &[("key", ""), ("value", ""), ("source", "`flag`, `environment`, `file, line N` or `default`")],
};

/// All kinds, in the order of the reference.
pub const RECORDS: [&Record; 25] = [
    &NODE,
    &PORT_REPORT,
    &PORT_CHANGE,
    &LEFT_OUT,
    &GAP,
    &PORT_DRIFT,
    &PAST_PORT_REPORT,
    &CAPTURE_FILE,
    &MERGED_FILE,
    &ONE_SIDE,
    &ONE_NODE,
    &PAIR,
    &SUMMARY,
    &ANSWER,
    &LOOKED,
    &WATCH,
    &EXPLANATION,
    &PROBE,
    &SESSION,
    &REMOVAL,
    &PLANNED_REMOVAL,
    &PREFLIGHT_CHECK,
    &ALARM_CHANGES,
    &ALARM,
    &SETTING,
];

/// The fields of a record that the reference does not have.
pub fn undocumented(record: &Record, value: &Value) -> Vec<String> {
    let mut found = unknown(record.fields, value, record.kind);
    for (part, fields) in &PARTS {
        let items = value[*part].as_array().map_or(std::slice::from_ref(&value[*part]), Vec::as_slice);
        found.extend(items.iter().flat_map(|item| unknown(fields, item, part)));
    }
    found
}

fn unknown(fields: &[(&str, &str)], value: &Value, of: &str) -> Vec<String> {
    let is_known = |name: &str| {
        let moment = name.strip_suffix("_time").filter(|moment| TIMES.contains(moment)).unwrap_or(name);
        fields.iter().any(|(known, _)| *known == moment) || ["kind", "schema"].contains(&name)
    };
    let names = value.as_object().into_iter().flat_map(|value| value.keys());
    names.filter(|name| !is_known(name)).map(|name| format!("{of}: {name}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_reference_does_not_have_is_found() {
        let value = json!({"kind": "port_report", "schema": 1, "node": "n", "at": 1, "at_time": "x", "node_time": 1,
            "ports": [{"port": 1, "first_seen_time": "x", "colour": "red"}], "extra": 1});
        assert_eq!(
            undocumented(&PORT_REPORT, &value),
            ["port_report: extra", "port_report: node_time", "ports: colour"]
        );
        let mut kinds: Vec<&str> = RECORDS.iter().map(|record| record.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), RECORDS.len());
    }
}
