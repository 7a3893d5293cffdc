//! What `-o json` and `-o yaml` print: the kinds of records, and the fields of each.
//!
//! Owns the words, which are a contract: docs/reference.md is made of them, and tests hold what is printed to them.

mod of_answers;
mod of_packets;
mod of_ports;
mod of_signals;
pub mod schema;
mod shapes;

use serde_json::Value;

pub use of_answers::{ANSWER, LOOKED};
pub use of_packets::{PAIR, SUMMARY, WATCH};
pub use of_ports::{GAP, LEFT_OUT, PAST_PORT_REPORT, PORT_CHANGE, PORT_DRIFT, PORT_REPORT};
pub use of_signals::SIGNAL;

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

/// Where a node's bundle is.
pub const BUNDLE_FILES: Record = Record {
    kind: "bundle_files",
    commands: "capture",
    one: "bundle",
    name: "",
    fields: &[
        ("node", ""),
        ("path", "its JSON file, here"),
        ("text_path", "the same as text"),
        ("taken", "how many times the state is in it: 2 with begin and end of the capture"),
    ],
};

/// What is in the JSON file of a bundle.
pub const BUNDLE: Record = Record {
    kind: "bundle",
    commands: "capture --bundle",
    one: "a file NODE….bundle.json",
    name: "",
    fields: &[
        ("session", ""),
        ("context", ""),
        ("node", ""),
        ("written", "when, RFC 3339"),
        ("programs", "what makes the node's network, by the images of its pods"),
        ("programs_unknown", "why that is not known"),
        ("taken", "the state at begin and end of the capture, or now (`when`); read `at`, after it was `due`"),
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
        ("alarm", "`silent`, `agent-errors`, `unexpected-ports`, or the code of an answer, such as `N-11`"),
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
pub const RECORDS: [&Record; 28] = [
    &NODE,
    &PORT_REPORT,
    &PORT_CHANGE,
    &LEFT_OUT,
    &GAP,
    &PORT_DRIFT,
    &PAST_PORT_REPORT,
    &CAPTURE_FILE,
    &BUNDLE_FILES,
    &BUNDLE,
    &MERGED_FILE,
    &ONE_SIDE,
    &ONE_NODE,
    &PAIR,
    &SUMMARY,
    &ANSWER,
    &LOOKED,
    &WATCH,
    &SIGNAL,
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

/// Kinds that are a file of their own and no line of standard output.
pub const FILES: [&str; 1] = [BUNDLE.kind];

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
