//! The records of open ports, now and in the past.

use super::Record;

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
