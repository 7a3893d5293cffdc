//! The first page: who and when, what was seen, what was captured, what was changed.
//!
//! Owns the sentences and their order, the most important first. Both forms of the report have these.

use std::collections::BTreeSet;

use nodewatch_protocol::{Dropped, Port, PortScope};

use super::{
    answers,
    times::{Days, length, whole},
};
use crate::{
    base::text::{self, bytes, counted},
    model::{
        CaptureRun, FileSummary, FullQueue, NodeName, NodeSummary, ObjectFate, ObjectSummary, PortClass, Span, Summary,
        missing_of,
    },
};

/// So many of a kind are named.
const NAMED: usize = 5;

/// Something that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// A sentence.
    pub text: String,
    /// Something failed or is missing.
    pub grave: bool,
}

/// The first page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lead {
    /// What and who, on one line.
    pub head: String,
    /// What was seen, the most important first.
    pub seen: Vec<Finding>,
    /// What was captured.
    pub captured: String,
    /// What was made in the cluster and what of it stays.
    pub changed: String,
}

pub(super) fn lead(summary: &Summary, days: Days) -> Lead {
    Lead {
        head: head(summary),
        seen: seen(summary, days),
        captured: captured(summary),
        changed: changed(summary, days),
    }
}

fn head(summary: &Summary) -> String {
    let mut parts = vec!["nodewatch".to_owned(), format!("session {}", summary.session), summary.place.clone()];
    parts.push(match summary.began {
        Some(began) => whole(began, summary.written.max(began)),
        None => "nothing was deployed".to_owned(),
    });
    if !summary.by.is_empty() {
        parts.push(format!("by {}", summary.by));
    }
    parts.join(", ")
}

fn seen(summary: &Summary, days: Days) -> Vec<Finding> {
    let nodes = || summary.nodes.iter();
    let answers = answers::sentences(summary, days).into_iter();
    let mut findings: Vec<Finding> = answers.map(|(text, grave)| Finding { text, grave }).collect();
    findings.extend(nodes().flat_map(|node| full_queues(node, days)));
    findings.extend(flaps(summary, days));
    findings.extend(of_class(summary, PortClass::Dead, |count| {
        format!("{} should be open, as the cluster declares, but nothing answers there", counted(count, "port"))
    }));
    findings.extend(nodes().flat_map(|node| unanswered(node, days)));
    findings.extend(undeclared(summary));
    findings.extend(nodes().filter_map(dropped));
    findings.extend(nodes().filter_map(|node| unreachable(node, days)));
    findings.extend(unattended(summary, days));
    findings.extend(incomplete(summary));
    findings.extend(nodes().flat_map(|node| unsaved(node, days)));
    findings.extend(
        nodes().flat_map(|node| {
            node.gaps.iter().map(|gap| Finding { text: format!("{}: {gap}.", node.name), grave: true })
        }),
    );
    if findings.is_empty() {
        let text = "Nothing out of order: no listener closed again and again, no port is missing or undeclared, \
                    nothing was dropped, and every agent could be reached.";
        let packets = if summary.answers.has_looked() { "" } else { " What the packets hold was not judged." };
        let nothing = "Nothing: no agent has told anything.";
        let told = nodes().any(|node| !node.ports.is_empty() || !node.rates.is_empty() || !node.files.is_empty());
        let text = if told { format!("{text}{packets}") } else { nothing.to_owned() };
        findings.push(Finding { text, grave: false });
    }
    findings
}

/// Connections were dropped there, whatever a probe says now.
fn full_queues(node: &NodeSummary, days: Days) -> Vec<Finding> {
    let mut queues: Vec<_> = node.full_queues.iter().collect();
    queues.sort_by_key(|queue| std::cmp::Reverse(queue.times));
    let told = queues.into_iter().take(2 * NAMED).map(|queue| {
        let FullQueue { port, times, first, last, waiting, limit } = queue;
        let times = counted(*times as usize, "time");
        let when = match last.saturating_sub(*first) {
            ..1000 => format!("at {}", days.time(*first)),
            _ => format!("from {} to {}", days.time(*first), days.time(*last)),
        };
        let name = &node.name;
        format!("{port} ({name}): accept queue full {times}, {when}, up to {waiting} waiting, backlog {limit}.")
    });
    told.map(|text| Finding { text, grave: true }).collect()
}

/// Flight recorders of which nothing was saved: what they held is nowhere.
fn unsaved(node: &NodeSummary, days: Days) -> Vec<Finding> {
    let saved = |run: &CaptureRun| node.files.iter().any(|file| node.run_of(file) == Some(run));
    let lost = node.captures.iter().filter(|run| run.is_recorder() && run.ended.is_some() && !saved(run));
    let told = lost.map(|run| {
        let span = days.span(Span { from: run.began, until: run.ended });
        format!("Nothing was saved of the flight recorder on {}, armed {span}.", node.name)
    });
    told.map(|text| Finding { text, grave: false }).collect()
}

fn flaps(summary: &Summary, days: Days) -> Vec<Finding> {
    let mut flaps: Vec<_> =
        summary.nodes.iter().flat_map(|node| node.flaps.iter().map(move |flap| (node, flap))).collect();
    flaps.sort_by_key(|(_, flap)| std::cmp::Reverse(flap.closed));
    let told = flaps.iter().take(2 * NAMED).map(|(node, flap)| {
        let span = format!("from {} to {}", days.time(flap.first), days.time(flap.last));
        format!("{} ({}) {}, {span}.", flap.port, node.name, flap.how())
    });
    let more = flaps.len().checked_sub(2 * NAMED).filter(|more| *more > 0);
    let more = more.map(|more| format!("{} closed again and again.", counted(more, "more listener")));
    told.chain(more).map(|text| Finding { text, grave: true }).collect()
}

/// Ports of a class, the first of them by name.
fn of_class(summary: &Summary, class: PortClass, what: impl Fn(usize) -> String) -> Option<Finding> {
    let ports = ports_of(summary, class);
    let names = by_port(&ports);
    (!ports.is_empty()).then(|| Finding { text: format!("{}: {}.", what(ports.len()), named(&names)), grave: true })
}

fn ports_of(summary: &Summary, class: PortClass) -> Vec<(&str, &NodeName)> {
    let all = summary.nodes.iter().flat_map(|node| node.ports.iter().map(move |port| (port, &node.name)));
    all.filter(|(port, _)| port.class == class).map(|(port, name)| (port.port.as_str(), name)).collect()
}

/// Each port once, with the nodes that have it.
fn by_port(ports: &[(&str, &NodeName)]) -> Vec<String> {
    let mut named: Vec<(&str, Vec<&str>)> = Vec::new();
    for (port, node) in ports {
        match named.iter_mut().find(|(known, _)| known == port) {
            Some((_, nodes)) => nodes.push(&node.0),
            None => named.push((port, vec![&node.0])),
        }
    }
    let text = |(port, nodes): (&str, Vec<&str>)| match nodes.len() {
        1..=2 => format!("{port} ({})", nodes.join(", ")),
        many => format!("{port} ({many} nodes)"),
    };
    named.into_iter().map(text).collect()
}

fn named(all: &[String]) -> String {
    let first = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match all.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{first} and {more} more"),
        _ => first,
    }
}

/// What nobody declares need not be wrong: it is named, those that others reach first.
fn undeclared(summary: &Summary) -> Option<Finding> {
    let all = ports_of(summary, PortClass::Unexpected);
    let is_own =
        |(port, _): &(&str, &NodeName)| port.parse::<Port>().is_ok_and(|port| port.scope() == PortScope::Loopback);
    let (own, reached): (Vec<_>, Vec<_>) = all.iter().copied().partition(is_own);
    if all.is_empty() {
        return None;
    }
    let alone = match own.len() {
        0 => String::new(),
        some => format!(" ({some} of them on loopback alone)"),
    };
    let sorted: Vec<_> = reached.into_iter().chain(own).collect();
    let what = counted(all.len(), "open port");
    let text = format!("{what} that no service or pod declares{alone}: {}.", named(&by_port(&sorted)));
    Some(Finding { text, grave: false })
}

fn unanswered(node: &NodeSummary, days: Days) -> Vec<Finding> {
    let failed = node.probes.iter().filter(|probe| !probe.open);
    let told = failed.map(|probe| {
        let at = days.time(probe.at);
        format!("{} ({}), tried from {} at {at}: {}.", probe.port, node.name, probe.from, probe.text)
    });
    told.map(|text| Finding { text, grave: true }).collect()
}

/// The three counters, which are never summed.
pub(super) fn drops(dropped: Dropped) -> Option<String> {
    let parts = [
        (dropped.kernel, "the kernel"),
        (dropped.interface, "the interface"),
        (dropped.queue, "the agent's own queue"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, by)| format!("{count} by {by}")).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn sum<'a>(files: impl IntoIterator<Item = &'a FileSummary>) -> Dropped {
    files.into_iter().fold(Dropped::default(), |sum, file| Dropped {
        kernel: sum.kernel.saturating_add(file.dropped.kernel),
        interface: sum.interface.saturating_add(file.dropped.interface),
        queue: sum.queue.saturating_add(file.dropped.queue),
    })
}

fn dropped(node: &NodeSummary) -> Option<Finding> {
    // A capture without files, as a flight recorder is, has counted too.
    let (files, counted) = (sum(&node.files), node.capture.as_ref().map(|capture| capture.dropped).unwrap_or_default());
    let most = Dropped {
        kernel: files.kernel.max(counted.kernel),
        interface: files.interface.max(counted.interface),
        queue: files.queue.max(counted.queue),
    };
    let text = format!("Packets dropped on {}: {}.", node.name, drops(most)?);
    Some(Finding { text, grave: true })
}

fn unreachable(node: &NodeSummary, days: Days) -> Option<Finding> {
    let first = node.outages.first()?;
    let took = |span: &Span| span.until.map_or(0, |until| until.saturating_sub(span.from));
    let how = match node.outages.len() {
        1 => days.span(*first),
        times => {
            let all = length(node.outages.iter().map(took).sum());
            let last = node.outages.last().filter(|last| last.until.is_none());
            let now = last.map(|last| format!(", and {}", days.span(*last))).unwrap_or_default();
            format!("{times} times, {all} in all, first at {}{now}", days.time(first.from))
        }
    };
    Some(Finding { text: format!("The agent on {} could not be reached {how}.", node.name), grave: true })
}

/// Times in which no laptop was attached.
pub(super) fn pauses(summary: &Summary) -> Vec<Span> {
    let pairs = summary.watched.windows(2);
    let pause = |pair: &[Span]| Some(Span { from: pair[0].until?, until: Some(pair[1].from) });
    pairs.filter_map(pause).filter(|span| span.until.is_some_and(|until| until > span.from)).collect()
}

fn unattended(summary: &Summary, days: Days) -> Option<Finding> {
    let pauses = pauses(summary);
    let spans: Vec<String> = pauses.iter().map(|span| days.span(*span)).collect();
    let what = "there are no rates of that time, and of ports what the agents remember";
    (!spans.is_empty())
        .then(|| Finding { text: format!("Nobody was attached {}: {what}.", named(&spans)), grave: false })
}

fn incomplete(summary: &Summary) -> Option<Finding> {
    let files = summary.nodes.iter().flat_map(|node| node.files.iter().map(move |file| (node, file)));
    let holes: Vec<String> = files
        .filter(|(_, file)| !file.incomplete.is_empty())
        .map(|(node, file)| format!("{} of {} ({})", file.name, node.name, missing_of(&file.incomplete)))
        .collect();
    let verb = if holes.len() == 1 { "is" } else { "are" };
    let what = counted(holes.len(), "file");
    (!holes.is_empty()).then(|| Finding { text: format!("{what} {verb} incomplete: {}.", named(&holes)), grave: true })
}

fn captured(summary: &Summary) -> String {
    let files: Vec<&FileSummary> = summary.nodes.iter().flat_map(|node| &node.files).collect();
    if files.is_empty() {
        let runs = || summary.nodes.iter().flat_map(|node| &node.captures);
        let recorders = runs().filter(|run| run.is_recorder()).count();
        let captures = runs().count() - recorders;
        let of = [
            (captures, counted(captures, "capture"), "no file is left"),
            (recorders, counted(recorders, "flight recorder"), "nothing was saved"),
        ];
        let told = of.into_iter().filter(|(count, ..)| *count > 0).map(|(_, whose, what)| format!("{what} of {whose}"));
        let told = told.collect::<Vec<_>>().join(", ");
        return if told.is_empty() { "nothing.".to_owned() } else { told + "." };
    }
    let size = bytes(files.iter().map(|file| file.bytes).sum());
    let drops = drops(sum(files.iter().copied()));
    let drops = drops.map_or("nothing dropped".to_owned(), |drops| format!("dropped {drops}"));
    let checked = match files.iter().filter(|file| file.checked).count() {
        all if all == files.len() => "checked".to_owned(),
        0 => "not checked".to_owned(),
        some => format!("{some} of them checked"),
    };
    let mut text = format!("{}, {size}, {drops}, {checked}", counted(files.len(), "file"));
    let folders: BTreeSet<&str> = files.iter().filter(|file| file.kept).map(|file| folder(&file.place)).collect();
    if !folders.is_empty() {
        let folders: Vec<String> = folders.into_iter().map(str::to_owned).collect();
        text = format!("{text}, in {}", named(&folders));
    }
    let elsewhere: BTreeSet<&str> = files.iter().filter(|file| !file.kept).map(|file| &*file.place).collect();
    for place in elsewhere {
        let count = files.iter().filter(|file| !file.kept && file.place == place).count();
        text = format!("{text}; {count} {place}");
    }
    text + "."
}

/// The folder, or the place in S3, of a file.
fn folder(place: &str) -> &str {
    match place.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None => "this folder",
    }
}

fn changed(summary: &Summary, days: Days) -> String {
    let objects: Vec<&ObjectSummary> = summary.objects.iter().filter(|object| object.in_cluster).collect();
    let goes_on = |of: &str| {
        let ends = summary.ends.map(|ends| format!(", until {} at the latest", days.time(ends))).unwrap_or_default();
        format!("{of}{ends}")
    };
    let agents = counted(summary.nodes.iter().filter(|node| node.agent != "not seen since").count(), "agent");
    if summary.detached {
        return goes_on(&format!("{agents} and what they need, left running on purpose")) + ".";
    }
    if objects.is_empty() {
        return match (summary.receipt.is_empty(), summary.ends) {
            (true, Some(_)) => {
                goes_on(&format!("{agents} and what they need, still there when this was written")) + "."
            }
            _ => "nothing.".to_owned(),
        };
    }
    let of = |fate: ObjectFate| {
        let of = objects.iter().filter(|object| object.fate == fate);
        of.map(|object| object.name.clone()).collect::<Vec<_>>()
    };
    let (kept, left) = (of(ObjectFate::Kept), of(ObjectFate::Left));
    let gone = objects.len() - kept.len() - left.len();
    let at = summary.gone_at.map(|at| format!(" at {}", days.time(at))).unwrap_or_default();
    let mut text = counted(objects.len(), "object");
    if gone == objects.len() {
        return match gone {
            1 => format!("{text}, gone{at}."),
            _ => format!("{text}, all gone{at}."),
        };
    }
    text = format!("{text}: {gone} gone{at}");
    if !kept.is_empty() {
        text = format!("{text}, {} kept on purpose ({})", kept.len(), named(&kept));
    }
    if !left.is_empty() {
        text = format!("{text}, {} may still be there ({})", left.len(), named(&left));
        let again = text::command(["cleanup", summary.session.as_str()]);
        text = format!("{text}; to remove what is left: {again}");
    }
    text + "."
}
