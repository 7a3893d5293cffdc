//! The report as one HTML page: no script, nothing from elsewhere, the picture as SVG.
//!
//! Owns the page. It prints as it stands: what is folded on the screen is open on paper.

use maud::{DOCTYPE, Markup, PreEscaped, html as page};

use super::{answers, chart, details, details::Capture, drift, lead, ports, times::Days};
use crate::{
    base::text::{self, line},
    model::{FileSummary, NodeName, NodeSummary, PortClass, Summary},
};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8885;--soft:#8882;--bad:#b02c08;\
--a:#0056a0;--b:#b85400;--c:#00745c;--d:#8a3f78;--e:#7a6500}\
@media(prefers-color-scheme:dark){:root{--bad:#ff7a52;--a:#66b8f0;--b:#ffa552;--c:#4ecfae;--d:#e29acd;--e:#d8c04a}}\
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.15rem;line-height:1.4;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:1.4rem 0 .3rem}\
h3{margin:1.1rem 0 0;font-size:1rem;overflow-wrap:anywhere}\
p,li{overflow-wrap:anywhere}ul{margin:.3rem 0;padding-left:1.3rem}\
table{border-collapse:collapse;margin:.6rem 0;max-width:100%}\
td,th{border-bottom:1px solid var(--line);padding:.2rem 1rem .2rem 0;text-align:left;vertical-align:top}\
td{overflow-wrap:anywhere}th{font-weight:600}.of th{padding-top:.6rem;overflow-wrap:anywhere}\
.n{white-space:nowrap}td.r{text-align:right;white-space:nowrap}\
code,pre,td.mono{font-family:ui-monospace,monospace;font-size:13px}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);padding:.4rem .6rem;margin:.4rem 0}\
.bad{color:var(--bad);font-weight:600}li.grave::marker{color:var(--bad)}\
details{border-top:1px solid var(--line);padding:.4rem 0}summary{cursor:pointer;font-weight:600}\
svg{width:100%;height:auto}svg.key{width:28px;height:8px}\
svg text{font-size:11px;fill:currentColor}svg line{stroke:var(--line)}\
.fault{fill:var(--bad)}.ran{fill:var(--a);fill-opacity:.35}\
.hole{fill:var(--soft);stroke:var(--line);stroke-dasharray:3 3}\
polyline{fill:none;stroke-width:1.5}\
svg .n0{stroke:var(--a)}svg .n1{stroke:var(--b);stroke-dasharray:7 2}svg .n2{stroke:var(--c);stroke-dasharray:3 2}\
svg .n3{stroke:var(--d);stroke-dasharray:8 2 2 2}svg .n4{stroke:var(--e);stroke-dasharray:1 2}\
svg .n5{stroke:currentColor;stroke-opacity:.5}\
.legend{margin:.2rem 0;font-size:13px}.legend span{margin-right:1.2rem}footer{margin-top:1.5rem;font-size:13px}\
@page{margin:14mm}\
@media print{:root{color-scheme:light;--bad:#b02c08;--a:#0056a0;--b:#b85400;--c:#00745c;--d:#8a3f78;--e:#7a6500}\
body{font-size:10pt;max-width:none;margin:0;padding:0}code,pre,td.mono{font-size:8.5pt}\
details:first-of-type{break-before:page}svg,tr,pre{break-inside:avoid}\
h2,h3,summary,.of{break-after:avoid}thead{display:table-header-group}\
rect,polyline{print-color-adjust:exact}\
details::details-content{content-visibility:visible;display:block;height:auto}}";

/// A name that is longer than this may break: no node's own name is, and what else comes from a cluster may be.
const LONG: usize = 63;

/// The session as a page.
pub fn html(summary: &Summary) -> String {
    let days = Days::of(summary);
    let lead = lead::lead(summary, days);
    let markup = page! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { "nodewatch session " (summary.session.as_str()) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (line(&lead.head)) }
                h2 { "Seen" }
                ul {
                    @for finding in &lead.seen {
                        li class=[finding.grave.then_some("grave")] { (line(&finding.text)) }
                    }
                }
                p { strong { "Captured: " } (line(&lead.captured)) }
                p { strong { "Changed in the cluster: " } (line(&lead.changed)) }
                (all_answers(summary, days))
                h2 { "Time line" }
                @match chart::chart(summary, days) {
                    Some(picture) => { (picture) }
                    None => { p { "Nothing to draw: no packets were counted, and no fault was seen." } }
                }
                (all_ports(summary))
                (all_captures(summary, days))
                (checksums(summary))
                (acts(summary, days))
                (objects(summary))
                footer {
                    "Written by nodewatch-tui " (line(&summary.program)) ". All times are UTC and by the laptop's \
                     clock, those of files by their node's; the day is " (days.date()) " where none is named."
                }
            }
        }
    };
    markup.into_string()
}

fn all_answers(summary: &Summary, days: Days) -> Markup {
    page! {
        h2 { (answers::HEADING) }
        @for text in answers::opening(&summary.answers, days) { p { (line(&text)) } }
        @for told in answers::all(&summary.answers, days) {
            h3 class=[told.answer.certainty.is_answer().then_some("bad")] { (line(&told.head)) }
            p { (line(&told.answer.text)) "; " (line(&told.when)) "." }
            table {
                @for (name, text) in told.parts(days) {
                    tr { th.n { (name) } td { (line(&text)) } }
                }
            }
            @if !told.answer.next.is_empty() {
                p { "What to do:" }
                pre { @for next in &told.answer.next { (line(next)) "\n" } }
            }
        }
    }
}

/// A cell with a node's name, which does not break.
fn node_cell(name: Option<&NodeName>) -> Markup {
    let name = name.map(|name| line(&name.0)).unwrap_or_default();
    let short = name.chars().count() <= LONG;
    page! { td class=[short.then_some("n")] { (name) } }
}

fn all_ports(summary: &Summary) -> Markup {
    let count: usize = summary.nodes.iter().map(|node| node.ports.len()).sum();
    let nodes = text::counted(summary.nodes.len(), "node");
    page! {
        details {
            summary { "Ports: " (count) " on " (nodes) }
            @for node in &summary.nodes { (node_ports(node)) }
        }
    }
}

fn node_ports(node: &NodeSummary) -> Markup {
    let drifted = drift(node).count();
    let known = node.ports.iter().any(|port| port.class.is_known());
    page! {
        h3 { (line(&node.name.0)) }
        p {
            (line(&node.facts)) "; agent " (line(&node.agent)) ". " (text::counted(node.ports.len(), "port"))
            @if known { ", " (drifted) " not as the cluster declares" } "."
        }
        @if known {
            table {
                thead { tr { th { "port" } th { "class" } th { "why" } } }
                @for port in ports(node) {
                    tr {
                        td.mono.n { (line(&port.port)) }
                        td class=(if port.class == PortClass::Dead { "n bad" } else { "n" }) { (port.class.word()) }
                        td { (line(&port.why)) }
                    }
                }
            }
        } @else if !node.ports.is_empty() {
            // Without a cluster nobody says which should be there.
            p { @for port in &node.ports { code.n { (line(&port.port)) } " " } }
        }
    }
}

fn all_captures(summary: &Summary, days: Days) -> Markup {
    let (captures, others) = details::captures(summary);
    let files: usize = summary.nodes.iter().map(|node| node.files.len()).sum();
    page! {
        details {
            summary {
                "Captures: " (captures.len()) " with " (text::counted(files, "file"))
            }
            @if captures.is_empty() && others.is_empty() { p { "Nothing was captured." } }
            @for capture in &captures { (one_capture(capture, days)) }
            @if !others.is_empty() {
                h3 { "Files of which no capture is known" }
                (files_table(&others, days))
            }
            @for node in &summary.nodes {
                @if let Some(capture) = &node.capture {
                    p { "The last capture of " (line(&node.name.0)) ": " (line(&details::counts(capture))) "." }
                }
            }
        }
    }
}

fn one_capture(capture: &Capture<'_>, days: Days) -> Markup {
    let nodes: Vec<String> = capture.nodes.iter().map(|name| line(&name.0)).collect();
    page! {
        h3 { (nodes.join(", ")) }
        p { (line(&capture.what(days))) }
        p { "The same again:" }
        pre { (capture.command()) }
        @if capture.files.is_empty() { p { "No file of it was kept." } } @else { (files_table(&capture.files, days)) }
    }
}

/// A node's files below its name and where they are, which need the whole width.
fn files_table(files: &[(&NodeName, &FileSummary)], days: Days) -> Markup {
    let head = |index: usize| (&files[index].0.0, place(files[index].1));
    page! {
        table {
            thead {
                tr { th { "file" } th { "from, to" } th { "size" } th { "packets" } th { "dropped" } th { "missing" } }
            }
            @for (index, (_, file)) in files.iter().enumerate() {
                @let (node, place) = head(index);
                @if index == 0 || head(index - 1) != (node, place) {
                    tr.of { th colspan="6" { (line(node)) ": " (line(place)) } }
                }
                tr {
                    (name_cell(&file.name))
                    td.n { (file_times(file, days)) }
                    td.r { (text::bytes(file.bytes)) }
                    td.r { (file.packets) }
                    td { (lead::drops(file.dropped).unwrap_or_else(|| "nothing".to_owned())) }
                    td.bad { (line(&file.incomplete)) }
                }
            }
        }
    }
}

/// Where a file is, without its own name.
pub(super) fn place(file: &FileSummary) -> &str {
    let folder = file.place.strip_suffix(&file.name).and_then(|folder| folder.strip_suffix('/'));
    folder.filter(|folder| !folder.is_empty()).unwrap_or(&file.place)
}

/// A file's name begins with a time, which does not break.
fn name_cell(name: &str) -> Markup {
    let name = line(name);
    let class = if name.chars().count() <= LONG { "mono n" } else { "mono" };
    page! { td class=(class) { (name) } }
}

pub(super) fn file_times(file: &FileSummary, days: Days) -> String {
    match (file.started, file.ended) {
        (0, _) => String::new(),
        (from, to) if to < from => days.time(from),
        (from, to) => format!("{}, {}", days.time(from), days.time(to)),
    }
}

fn checksums(summary: &Summary) -> Markup {
    let files =
        || summary.nodes.iter().flat_map(|node| &node.files).filter_map(|file| Some((file, file.sha256.as_ref()?)));
    page! {
        @if files().next().is_some() {
            details {
                summary { "Checksums: SHA-256 of " (text::counted(files().count(), "file")) }
                table {
                    thead { tr { th { "SHA-256" } th { "file" } } }
                    @for (file, sum) in files() { tr { td.mono { (line(sum)) } (name_cell(&file.name)) } }
                }
            }
        }
    }
}

fn acts(summary: &Summary, days: Days) -> Markup {
    let acts = details::acts(summary);
    page! {
        details {
            summary { "What was done and seen: " (text::counted(acts.len(), "line")) }
            @if let Some(left_out) = details::left_out(summary) { p { (left_out) } }
            table {
                thead { tr { th { "time" } th { "node" } th { "what" } } }
                @for act in &acts {
                    tr { td.mono.n { (days.time(act.at)) } (node_cell(act.node)) td { (line(&act.text)) } }
                }
            }
        }
    }
}

fn objects(summary: &Summary) -> Markup {
    page! {
        details {
            summary { "What became of each object" }
            @if !summary.objects.is_empty() {
                table {
                    thead { tr { th { "object" } th { "now" } th { "" } } }
                    @for object in &summary.objects {
                        tr { td.mono { (line(&object.name)) } td.n { (object.fate.word()) } td { (line(&object.why)) } }
                    }
                }
            }
            @if summary.receipt.is_empty() {
                p { "The session was still running when this was written." }
            } @else {
                h3 { "Receipt" }
                ul { @for told in &summary.receipt { li { (line(told)) } } }
            }
        }
    }
}
