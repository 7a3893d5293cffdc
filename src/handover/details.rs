//! What stands behind the first page: what was done and when, captures with their files.
//!
//! Owns how these are put together from what each node has. Both forms of the report have them.

use super::{lead::drops, times::Days};
use crate::{
    base::text,
    model::{CaptureRun, CaptureSummary, FileSummary, Moment, NodeName, NodeSummary, Summary},
};

/// Captures that began within so long of one another, and are the same, were one act.
const TOGETHER: u64 = 5_000;
/// A line of what was done and seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Act<'a> {
    pub at: u64,
    pub node: Option<&'a NodeName>,
    pub text: String,
}

/// What was done and seen, oldest first. Ports that flap and sockets of clients are counted elsewhere.
pub(super) fn acts(summary: &Summary) -> Vec<Act<'_>> {
    let told = summary.timeline.iter().filter(|moment| !is_repeated(summary, moment)).map(|moment| Act {
        at: moment.at,
        node: moment.node.as_ref(),
        text: moment.text.clone(),
    });
    let ports = summary.nodes.iter().flat_map(|node| {
        node.changes.iter().map(|change| Act {
            at: change.at,
            node: Some(&node.name),
            text: format!("{} {}", if change.opened { "opened" } else { "closed" }, change.port),
        })
    });
    let mut acts: Vec<Act<'_>> = told.chain(ports).collect();
    acts.sort();
    acts
}

/// What was told of the session has been told of a node at the same moment, in other words.
fn is_repeated(summary: &Summary, moment: &Moment) -> bool {
    // They are in order of time.
    let begin = summary.timeline.partition_point(|other| other.at < moment.at);
    let same = summary.timeline[begin..].iter().take_while(|other| other.at == moment.at);
    let tells = |other: &Moment| {
        let subject = other.text.split(' ').next().filter(|word| word.len() >= 8);
        let of_node = other.node.as_ref().is_some_and(|node| moment.text.contains(&node.0));
        other.node.is_some() && (of_node || subject.is_some_and(|subject| moment.text.contains(subject)))
    };
    moment.node.is_none() && same.into_iter().any(tells)
}

/// What of ports the list leaves out; `None` when it leaves out nothing.
pub(super) fn left_out(summary: &Summary) -> Option<String> {
    let clients: u64 = summary.nodes.iter().map(|node| node.clients).sum();
    let flaps: u64 = summary.nodes.iter().flat_map(|node| &node.flaps).map(|flap| flap.closed).sum();
    let clients =
        (clients > 0).then(|| format!("{} that came and went", text::counted(clients as usize, "client socket")));
    let flaps = (flaps > 0).then(|| format!("{} of listeners that flap", text::counted(flaps as usize, "closing")));
    let parts: Vec<String> = clients.into_iter().chain(flaps).collect();
    (!parts.is_empty()).then(|| format!("Not listed: {}.", parts.join(", ")))
}

/// A capture on one node or several, with its files.
#[derive(Debug)]
pub(super) struct Capture<'a> {
    pub run: &'a CaptureRun,
    pub nodes: Vec<&'a NodeName>,
    pub files: Vec<(&'a NodeName, &'a FileSummary)>,
}

impl Capture<'_> {
    /// `tcp port 443, on eth0, content headers, from 14:39:29 to 14:43:50 (4 min): stopped`.
    pub(super) fn what(&self, days: Days) -> String {
        let run = self.run;
        let filter = run.filter.as_deref().unwrap_or("every packet");
        let span = days.span(crate::model::Span { from: run.began, until: run.ended });
        let reason = if run.reason.is_empty() { String::new() } else { format!(": {}", run.reason) };
        format!("{filter}, on {}, content {}, {span}{reason}", run.interfaces.join(", "), run.content)
    }

    /// The command that captures the same.
    pub(super) fn command(&self) -> String {
        let nodes: Vec<&str> = self.nodes.iter().map(|name| name.0.as_str()).collect();
        let nodes = nodes.join(",");
        let words = ["capture", "--nodes", &nodes].into_iter().chain(self.run.options.iter().map(String::as_str));
        text::command(words)
    }
}

/// Captures in the order that they began, and files of which no capture is known.
pub(super) fn captures(summary: &Summary) -> (Vec<Capture<'_>>, Vec<(&NodeName, &FileSummary)>) {
    let mut all: Vec<Capture<'_>> = Vec::new();
    let mut others = Vec::new();
    let runs = summary.nodes.iter().flat_map(|node| node.captures.iter().map(move |run| (node, run)));
    let mut runs: Vec<(&NodeSummary, &CaptureRun)> = runs.collect();
    runs.sort_by_key(|(node, run)| (run.began, &node.name));
    for (node, run) in runs {
        let files = node.files.iter().filter(|file| node.run_of(file) == Some(run)).map(|file| (&node.name, file));
        let same = |known: &&mut Capture<'_>| {
            let alike = (&known.run.options, &known.run.interfaces) == (&run.options, &run.interfaces);
            alike && run.began - known.run.began <= TOGETHER && !known.nodes.contains(&&node.name)
        };
        match all.iter_mut().find(same) {
            Some(known) => {
                known.nodes.push(&node.name);
                known.files.extend(files);
            }
            None => all.push(Capture { run, nodes: vec![&node.name], files: files.collect() }),
        }
    }
    for node in &summary.nodes {
        others.extend(node.files.iter().filter(|file| node.run_of(file).is_none()).map(|file| (&node.name, file)));
    }
    (all, others)
}

/// What the last capture of a node has counted.
pub(super) fn counts(capture: &CaptureSummary) -> String {
    let mix: Vec<String> = capture.mix.iter().map(|(name, size)| format!("{name} {}", text::bytes(*size))).collect();
    let mix = if mix.is_empty() { String::new() } else { format!("; {}", mix.join(", ")) };
    let drops = drops(capture.dropped).map_or("nothing dropped".to_owned(), |drops| format!("dropped {drops}"));
    format!("{} packets, {}, {drops}{mix}", capture.packets, text::bytes(capture.bytes))
}
