//! docs/signals.md, made of the table.
//!
//! Owns its words. Pure.

use std::fmt::Write;

use super::{Kind, SIGNALS, Signal};

const HEAD: &str = "\
# Signals

Numbers that each node's kernel keeps, read once a second by its agent, without any right. `:signals` shows them. A `!`
marks those that are out of the normal, which is looked at over 60 s. A signal alone is a note and not a finding: it says
where to look.

Counters are differences since the agent began; they survive full counters, resets, and interfaces and CPUs that come and
go. A source that a node does not have is named once, with the reason. One that takes long rests for longer, so that none
takes more than half a per cent of a core: 100,000 sockets are read every 20 s or so instead of every 10 s.

TCP and UDP counters are those of the node's own network namespace: of the node's sockets and of pods on the host's network,
not of other pods. Connection tracking, interfaces and drivers count pods' traffic too.

This file is made from `crates/signals`.
";

/// The whole document.
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    let mut group = "";
    for signal in SIGNALS {
        let own = signal.name.split('.').next().unwrap_or_default();
        if own != group {
            group = own;
            let _ = writeln!(
                out,
                "\n## {group}\n\n| name | unit | kind | of | source | normal is | means |\n\
                 |---|---|---|---|---|---|---|"
            );
        }
        let _ = writeln!(out, "{}", row(signal));
    }
    out
}

fn row(signal: &Signal) -> String {
    let Signal { name, unit, origin, field, kind, scope, normal, meaning, note } = signal;
    let kind = if *kind == Kind::Counter { "counter" } else { "gauge" };
    let says = if note.is_empty() { (*meaning).to_owned() } else { format!("{meaning} {note}") };
    let scope = scope.word();
    format!("| `{name}` | {unit} | {kind} | {scope} | {}, {field} | {normal} | {says} |", origin.text())
}
