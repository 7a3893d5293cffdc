//! The record of what kernels count.

use super::Record;

/// What the kernel of a node counts, as it stood when watching ended.
pub const SIGNAL: Record = Record {
    kind: "signal",
    commands: "watch",
    one: "signal of a node that has moved or is out of the normal, at the end",
    name: "",
    fields: &[
        ("node", ""),
        ("at", "by the laptop's clock"),
        ("signal", "its name: see signals.md"),
        ("item", "which interface, listening socket or path; `null` where it is the node's"),
        ("unit", "what is counted"),
        ("value", "as the kernel has it"),
        ("moved", "what it rose by in the last minute; `null` of what does not only rise"),
        ("out_of_normal", "whether it is"),
        ("normal", "when nothing is wrong"),
    ],
};
