//! The report as Markdown.

use std::fmt::Write;

use super::{drift, facts, ports};
use crate::{
    base::text,
    model::{NodeSummary, Summary},
};

/// The session as Markdown with GitHub's tables.
pub fn markdown(summary: &Summary) -> String {
    let mut out = format!("# nodewatch session {}\n\n", summary.session);
    table(&mut out, &["", ""], facts(summary).into_iter().map(|(name, value)| vec![name.to_owned(), value]));
    out.push_str("\n## Timeline\n\n");
    let moments = summary.timeline.iter().map(|moment| {
        let node = moment.node.as_ref().map_or_else(String::new, |name| name.0.clone());
        vec![text::rfc3339(moment.at), node, moment.text.clone()]
    });
    table(&mut out, &["time", "node", "what"], moments);
    for node in &summary.nodes {
        node_section(&mut out, node);
    }
    out.push_str("\n## Cleanup\n\n");
    if summary.receipt.is_empty() {
        out.push_str("The session was still running when this was written.\n");
    }
    for line in &summary.receipt {
        // Writing to a String does not fail.
        let _ = writeln!(out, "- {}", escaped(line));
    }
    out
}

fn node_section(out: &mut String, node: &NodeSummary) {
    let _ = writeln!(out, "\n## {}\n\n{}; agent {}.", escaped(&node.name.0), escaped(&node.facts), node.agent);
    let drifted: Vec<_> = drift(node).collect();
    let _ = writeln!(out, "\n{}, {} not as expected.", text::counted(node.ports.len(), "open port"), drifted.len());
    if !node.ports.is_empty() {
        out.push('\n');
        let rows =
            ports(node).into_iter().map(|port| vec![port.port.clone(), port.class.word().to_owned(), port.why.clone()]);
        table(out, &["port", "class", "why"], rows);
    }
    if !node.changes.is_empty() {
        out.push_str("\nPorts that opened and closed:\n\n");
        let rows = node.changes.iter().map(|change| {
            let verb = if change.opened { "opened" } else { "closed" };
            vec![text::rfc3339(change.at), verb.to_owned(), change.port.clone()]
        });
        table(out, &["time", "what", "port"], rows);
    }
    if let Some(capture) = &node.capture {
        let dropped = capture.dropped;
        let _ = writeln!(
            out,
            "\nCapture: {}. {} packets, {}; dropped by kernel {}, interface {}, own queue {}.",
            escaped(&capture.what),
            capture.packets,
            text::bytes(capture.bytes),
            dropped.kernel,
            dropped.interface,
            dropped.queue
        );
    }
    if !node.files.is_empty() {
        out.push('\n');
        let rows = node.files.iter().map(|file| {
            let dropped = file.dropped;
            vec![
                file.name.clone(),
                text::bytes(file.bytes),
                file.packets.to_string(),
                format!("{}, {}, {}", dropped.kernel, dropped.interface, dropped.queue),
                format!("{} {}", file.place, file.incomplete),
                file.sha256.clone().unwrap_or_default(),
            ]
        });
        table(out, &["file", "size", "packets", "dropped k, i, q", "where", "SHA-256"], rows);
    }
}

fn table(out: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = writeln!(out, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}

/// Foreign text that Markdown takes as text.
fn escaped(foreign: &str) -> String {
    text::visible(foreign.trim()).chars().fold(String::new(), |mut out, character| {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '#' | '!' | '~' => out.extend(['\\', character]),
            other => out.push(other),
        }
        out
    })
}
