//! The report as Markdown: the sentences and the order of the page, without its picture.

use std::fmt::Write;

use super::{
    answers, chart, details, drift,
    html::{file_times, place},
    lead, ports,
    times::Days,
};
use crate::{
    base::text,
    model::{FileSummary, NodeName, NodeSummary, Summary},
};

/// The session as Markdown with GitHub's tables.
pub fn markdown(summary: &Summary) -> String {
    let days = Days::of(summary);
    let lead = lead::lead(summary, days);
    let mut out = format!("# {}\n\n## Seen\n\n", escaped(&lead.head));
    for finding in &lead.seen {
        // Writing to a String does not fail.
        let _ = writeln!(out, "- {}", escaped(&finding.text));
    }
    let _ = writeln!(out, "\n**Captured:** {}", escaped(&lead.captured));
    let _ = writeln!(out, "\n**Changed in the cluster:** {}", escaped(&lead.changed));
    all_answers(&mut out, summary, days);
    time_line(&mut out, summary, days);
    out.push_str("\n## Ports\n");
    for node in &summary.nodes {
        node_ports(&mut out, node);
    }
    all_captures(&mut out, summary, days);
    checksums(&mut out, summary);
    acts(&mut out, summary, days);
    objects(&mut out, summary);
    let program = escaped(&summary.program);
    let _ = writeln!(
        out,
        "\nWritten by nodewatch-tui {program}. All times are UTC and by the laptop's clock, those of files by their \
         node's; the day is {} where none is named.",
        days.date()
    );
    out
}

fn all_answers(out: &mut String, summary: &Summary, days: Days) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "\n## {}", answers::HEADING);
    for line in answers::opening(&summary.answers, days) {
        let _ = writeln!(out, "\n{}", escaped(&line));
    }
    for told in answers::all(&summary.answers, days) {
        let (head, when, text) = (escaped(&told.head), escaped(&told.when), escaped(&told.answer.text));
        let _ = writeln!(out, "\n### {head}\n\n{text}; {when}.\n");
        for (name, text) in told.parts(days) {
            let name = if name.is_empty() { String::new() } else { format!("{name}: ") };
            let _ = writeln!(out, "- {name}{}", escaped(&text));
        }
        if !told.answer.next.is_empty() {
            out.push_str("\nWhat to do:\n\n");
            for next in &told.answer.next {
                // Four spaces make it a block of code, which takes no markup; a command is one line.
                let _ = writeln!(out, "    {}", text::line(next));
            }
        }
    }
}

/// What the picture of the page marks.
fn time_line(out: &mut String, summary: &Summary, days: Days) {
    let mut rows = chart::rows(summary);
    // A list of times is read in their order.
    rows.sort_by_key(|row| row.marks.iter().map(|(from, _)| *from).min());
    if rows.is_empty() {
        return;
    }
    out.push_str("\n## Time line\n\n");
    let rows = rows.into_iter().map(|row| {
        let from = row.marks.iter().map(|(from, _)| *from).min().unwrap_or_default();
        let to = row.marks.iter().map(|(_, to)| *to).max().unwrap_or_default();
        vec![
            days.time(from),
            days.time(to),
            row.what,
            row.why,
            if row.marks.len() == 1 { "once".to_owned() } else { format!("{} times", row.marks.len()) },
        ]
    });
    table(out, &["from", "to", "what", "", ""], rows);
}

fn node_ports(out: &mut String, node: &NodeSummary) {
    let count = text::counted(node.ports.len(), "port");
    let known = node.ports.iter().any(|port| port.class.is_known());
    let drifted = if known { format!(", {} not as the cluster declares", drift(node).count()) } else { String::new() };
    let (name, facts, agent) = (escaped(&node.name.0), escaped(&node.facts), escaped(&node.agent));
    let _ = writeln!(out, "\n### {name}\n\n{facts}; agent {agent}. {count}{drifted}.");
    if !node.ports.is_empty() {
        out.push('\n');
        let rows =
            ports(node).into_iter().map(|port| vec![port.port.clone(), port.class.word().to_owned(), port.why.clone()]);
        table(out, &["port", "class", "why"], rows);
    }
}

fn all_captures(out: &mut String, summary: &Summary, days: Days) {
    out.push_str("\n## Captures\n");
    let (captures, others) = details::captures(summary);
    if captures.is_empty() && others.is_empty() {
        out.push_str("\nNothing was captured.\n");
    }
    for capture in &captures {
        let nodes: Vec<String> = capture.nodes.iter().map(|name| escaped(&name.0)).collect();
        let what = escaped(&capture.what(days));
        // Four spaces make it a block of code, which takes no markup; a command is one line.
        let _ = writeln!(out, "\n### {}\n\n{what}\n\nThe same again:\n\n    {}\n", nodes.join(", "), capture.command());
        files(out, &capture.files, days);
    }
    if !others.is_empty() {
        out.push_str("\n### Files of which no capture is known\n\n");
        files(out, &others, days);
    }
    for node in &summary.nodes {
        if let Some(capture) = &node.capture {
            let (name, counts) = (escaped(&node.name.0), escaped(&details::counts(capture)));
            let _ = writeln!(out, "\nThe last capture of {name}: {counts}.");
        }
    }
}

fn files(out: &mut String, files: &[(&NodeName, &FileSummary)], days: Days) {
    if files.is_empty() {
        out.push_str("No file of it was kept.\n");
        return;
    }
    let rows = files.iter().map(|(node, file)| {
        vec![
            file.name.clone(),
            node.0.clone(),
            file_times(file, days),
            text::bytes(file.bytes),
            file.packets.to_string(),
            lead::drops(file.dropped).unwrap_or_else(|| "nothing".to_owned()),
            format!("{} {}", place(file), file.incomplete),
        ]
    });
    table(out, &["file", "node", "from, to", "size", "packets", "dropped", "where"], rows);
}

fn checksums(out: &mut String, summary: &Summary) {
    let files = summary.nodes.iter().flat_map(|node| &node.files);
    let rows: Vec<Vec<String>> = files.filter_map(|file| Some(vec![file.sha256.clone()?, file.name.clone()])).collect();
    if !rows.is_empty() {
        out.push_str("\n## Checksums\n\n");
        table(out, &["SHA-256", "file"], rows.into_iter());
    }
}

fn acts(out: &mut String, summary: &Summary, days: Days) {
    out.push_str("\n## What was done and seen\n\n");
    if let Some(left_out) = details::left_out(summary) {
        let _ = writeln!(out, "{left_out}\n");
    }
    let rows = details::acts(summary).into_iter().map(|act| {
        let node = act.node.map_or_else(String::new, |name| name.0.clone());
        vec![days.time(act.at), node, act.text]
    });
    table(out, &["time", "node", "what"], rows);
}

fn objects(out: &mut String, summary: &Summary) {
    out.push_str("\n## What became of each object\n\n");
    if !summary.objects.is_empty() {
        let rows = summary.objects.iter();
        let rows = rows.map(|object| vec![object.name.clone(), object.fate.word().to_owned(), object.why.clone()]);
        table(out, &["object", "now", ""], rows);
        out.push('\n');
    }
    if summary.receipt.is_empty() {
        out.push_str("The session was still running when this was written.\n");
    }
    for line in &summary.receipt {
        // Writing to a String does not fail.
        let _ = writeln!(out, "- {}", escaped(line));
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
    text::line(foreign.trim()).chars().fold(String::new(), |mut out, character| {
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
